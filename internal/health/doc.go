// Package health asks several stores at once how they are.
//
// This package only collects. What the results mean, and how they are shown, is the business
// of a server or host.
package health
