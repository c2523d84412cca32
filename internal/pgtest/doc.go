// Package pgtest runs a real PostgreSQL for tests and benchmarks, on a loopback port and with
// files of its own: the one that is installed, or one that is fetched.
//
// What belongs here is starting, stopping and killing it. What is asked of it is its callers'.
package pgtest
