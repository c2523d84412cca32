// Package health asks several stores at once how they are.
//
// What belongs here is the gathering alone: who asks, what that means and how it is shown
// is a server's or a host's business.
package health
