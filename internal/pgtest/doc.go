// Package pgtest runs a real PostgreSQL for tests and benchmarks, on a loopback port and with
// files of its own: the one that is installed, or one that is fetched.
//
// This package starts, stops and kills it. Its callers know what to ask it.
package pgtest
