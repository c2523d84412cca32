// Package batch is the wrapper batch: while a write is under way, it gathers the
// writes of others and sends them together as one write set. A lone writer waits
// for nobody, unless linger says so.
//
// Only writes without conditions and without an ID are merged, and only those
// that touch no common key or range. All others are sent as they are. Of writes
// to one key that wait, the one that came first is sent first. A merged write set
// that is definitely refused is taken apart, so that each caller has an outcome
// of its own; one of unknown outcome is unknown for all of them. A caller who
// leaves before the write was sent has written nothing. Close sends what waits.
//
// Needs: a backend that writes several keys at once. Preserves: everything; what
// comes out has an order in which it could have happened without this stage.
// Weakens: nothing; merged writes share a version.
package batch
