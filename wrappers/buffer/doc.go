// Package buffer is a unit of work over a backend: what is written to a [Buffer]
// stays in memory until Commit applies all of it as one write set, or Discard
// drops it. Reads and ranges see it at once, merged with what is below.
//
// A condition is judged when it is written, against the buffer where that knows
// the key, else against the backend; then it becomes a condition of the commit.
// A commit that fails leaves everything as it was.
//
// It is made by code and has no place in a configured pipeline, where nobody
// would commit it.
//
// Needs: nothing. Preserves: atomicity, and read after write for those who use
// the same buffer. Weakens: a write is acknowledged before it is applied, and
// there are no versions, for what is buffered has none yet.
package buffer
