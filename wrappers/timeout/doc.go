// Package timeout is the wrapper timeout, which sets a deadline on every call,
// unless the caller's is earlier.
//
// Needs: a backend that honours the end of a context, as every carrier does.
// Preserves: everything. Weakens: a write that was cut off after it was sent has
// an unknown outcome. Above retry, the deadline bounds all attempts together;
// below retry, it bounds each attempt.
package timeout
