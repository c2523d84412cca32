// Package retry is the wrapper retry: it makes calls again that failed for a
// reason that may pass, after waits with full jitter, within a deadline.
//
// Reads are made again whenever that may help. A write is made again only where
// nothing was written; one of unknown outcome only over a backend that is
// idempotent, with the ID that its first attempt had, for as long as the ID is
// certain to be remembered. A conflict is never repeated here, for the same
// conditions fail again: storage.Update and storage.RetryOnConflict repeat the
// whole read, modify and write.
//
// Needs: nothing. Preserves: everything; a write is applied once at most.
// Weakens: nothing; calls may take longer.
package retry
