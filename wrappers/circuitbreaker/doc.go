// Package circuitbreaker is the wrapper circuit_breaker, which refuses calls at
// once for a while after failures of the backend, and then lets a few calls
// through to test whether it has recovered.
//
// A call failed if it ended as unavailable, with a timeout, an internal fault or
// an unknown outcome. A decision of the backend, such as a conflict or a refusal
// by a limit, is not a failure. A call that its caller ended, by leaving or by
// its deadline, does not count: to detect a backend that hangs, put a stage
// timeout below. Health checks always pass.
//
// Needs: nothing. Preserves: everything. Weakens: nothing; calls that might have
// succeeded may be refused, and refused calls are never applied.
package circuitbreaker
