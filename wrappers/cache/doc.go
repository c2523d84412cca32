// Package cache is the wrapper cache: it keeps items that were read, and what
// was found absent, in memory, bounded by bytes.
//
// Needs: that every writer of the backend goes through this host. What others
// write is seen after the entry's time to live at the latest. Preserves: every
// guarantee of the backend for those who go through the host, linearizability
// included, whatever store of it they use. GetMany and Scan are not answered
// from the cache, so that they stay one view. Weakens: what writers outside of
// this host change may be seen late.
//
// How: a write takes its keys out of the cache before it begins, and until its
// outcome is known they are read from below and not kept. A read that was on its
// way when the write began is not kept either. After an unknown outcome that
// lasts for unknown_hold longer, for the backend may still be at it. Writes of
// every pipeline arrive through wrappers.Hub. An entry ends when its item does.
package cache
