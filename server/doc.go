// Package server serves stores over HTTP, in HTTP's own terms, so that curl is a
// client: docs/http.md is its reference.
//
// What belongs here is the translation between requests and storage.Store, and
// what keeps a listener safe: limits of time, size and number, who may call, and
// an end that lets requests finish. The server builds and owns no store.
package server
