// Package buffer is a unit of work over a backend: writes to a [Buffer] stay in
// memory until Commit applies all of them as one write set, or Discard drops
// them. Reads and ranges see them at once, merged with the items of the backend.
//
// A condition is evaluated when it is written: against the buffer if that holds
// the key, else against the backend. It then becomes a condition of the commit. A
// failed commit changes nothing.
//
// Code creates buffers. A configured pipeline cannot contain one, because nothing
// would commit it.
//
// Needs: nothing. Preserves: atomicity, and read after write for callers of the
// same buffer. Weakens: a write is acknowledged before it is applied, and there
// are no versions, because buffered writes have none yet.
package buffer
