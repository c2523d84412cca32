// Package batch is the wrapper batch, which gathers writes while another write is
// under way, and sends them together as one write set. A lone writer never waits,
// unless linger is set.
//
// Only writes without conditions and without an ID are merged, and only writes
// that touch no common key or range. All other writes are sent unchanged. Writes
// to one key keep their order of arrival. If a merged write set is definitely
// refused, its writes are sent one by one, so that each caller has an outcome of
// its own. If its outcome is unknown, it is unknown for every caller. A caller
// that leaves before its write was sent has written nothing. Close sends all
// waiting writes.
//
// Needs: a backend that supports write sets of several keys. Preserves:
// everything; the order of the writes that it sends is one that could have
// occurred without this stage. Weakens: nothing; merged writes share a version.
package batch
