// Package cache is the wrapper cache, which keeps items in memory after they were
// read, and remembers absent keys, within a bound of bytes.
//
// Needs: that every writer of the backend goes through this host, or that the
// backend has changes or change_notice, which the cache then follows. Without them,
// a write from elsewhere is seen within the entry's time to live. Preserves: every
// guarantee of the backend, including linearizability, for callers of this host,
// whichever store they use. GetMany and Scan bypass the cache, so that each of their
// results stays one view. Weakens: writes that bypass this host may be seen late.
//
// Writes of others: the hub follows the backend's changes, and every cache over it
// drops the changed keys. Four times within staleness, the hub verifies that it has
// received all changes. If the last verification is older than staleness, a
// cache serves nothing from memory until the hub has caught up; after a gap it begins
// empty. So it serves nothing older than staleness, as long as the backend's own
// reads are current: a backend that reads from a lagging replica may return older items.
// A backend with change_notice reports that others have written, but not what: each
// report empties every cache over it.
//
// How: a write removes its keys from the cache before it begins. Until its
// outcome is known, reads of these keys go to the backend and are not cached;
// neither is a read that was in flight when the write began. If the outcome is
// unknown, this lasts for a further unknown_hold, because the backend may still
// be applying the write. Writes of every pipeline arrive through wrappers.Hub. An
// entry expires with its item.
package cache
