// Package web has what the HTTP of both APIs shares: requests that are bounded before they
// are worked on, each under a span, and errors as a status and a JSON document.
package web
