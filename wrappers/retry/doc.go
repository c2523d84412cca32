// Package retry is the wrapper retry, which retries calls that failed with a
// transient error, with full-jitter back-off, within a deadline.
//
// Reads are retried whenever that may help. A write is retried only if it was
// certainly not applied. A write of unknown outcome is retried only over an
// idempotent backend, with the ID of its first attempt, and only while the
// backend is certain to remember that ID. Conflicts are never retried here,
// because the same conditions fail again: storage.Update and
// storage.RetryOnConflict repeat the whole read, modify and write.
//
// Needs: nothing. Preserves: everything; a write is applied at most once.
// Weakens: nothing; calls may take longer.
package retry
