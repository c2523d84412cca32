// Package circuitbreaker is the wrapper circuit_breaker: after failures of the
// backend it refuses calls for a while, at once, and then lets a few try whether
// it is back.
//
// A failure is a call that was not answered: unavailable, a timeout, an internal
// fault, an unknown outcome. Whatever the backend has decided, such as a conflict
// or a refusal by a limit, is an answer. What its caller ended, by leaving or by a
// deadline, says nothing: a stage timeout below tells a backend that hangs. Health
// is always asked.
//
// Needs: nothing. Preserves: everything. Weakens: nothing; calls that might have
// succeeded may be refused, of which nothing was applied.
package circuitbreaker
