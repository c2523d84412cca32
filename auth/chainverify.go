package auth

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Entries yields the entries in order, starting at a sequence. An unreadable entry is an
// error in its place, after which the next ones follow.
func (c *Chain) Entries(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		start := c.entryKey(from)
		for it, err := range c.store.Range(ctx, start, storage.PrefixEnd([]byte(c.prefix+"entry/")), storage.RangeOptions{PageItems: pageKeys}) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e, err := parseEntry(it.Value)
			if err == nil && string(it.Key) != string(c.entryKey(e.Sequence)) {
				err = fmt.Errorf("it says that it is entry %d", e.Sequence)
			}
			if err != nil {
				err = &damaged{string(it.Key[len(c.prefix):]), err}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// damaged is an entry that cannot be read.
type damaged struct {
	key string
	err error
}

func (d *damaged) Error() string {
	return fmt.Sprintf("%q is not an entry of an audit log: %v", d.key, d.err)
}

// Report holds the result of [Chain.Verify].
type Report struct {
	Entries uint64
	Head    string // hash of the last entry; empty if there is none
	// Faults lists the faults of the chain: changed, removed or inserted entries, and a head
	// that does not match. At most 100 are listed.
	Faults []string
	// Open lists the sequences of intents without an outcome: the operation is still running,
	// its host died, or its sink failed. At most 100 are listed.
	Open []uint64
}

const (
	maxTold = 100     // faults that a report lists, at most
	maxOpen = 100_000 // how many intents are looked after at once
)

// Verify reads the log and compares each entry with the hash in the next one, and the
// last with the head. known is the hash of an entry that was kept elsewhere and must be
// in the chain; it is optional. Without it, a log that has neither entries nor a head is
// NotFound: one that was removed looks like one that was never written. Any other error is
// that of reading the store.
func (c *Chain) Verify(ctx context.Context, known string) (Report, error) {
	v := verifier{open: map[string]uint64{}, known: known == ""}
	raw, last, headErr := c.head(ctx)
	if headErr != nil {
		v.fault("%v", headErr)
	}
	for e, err := range c.Entries(ctx, 0) {
		v.any = true
		if d, ok := err.(*damaged); ok {
			v.fault("%v", d)
			v.next, v.previous = v.next+1, ""
			continue
		}
		if err != nil {
			return v.report, err
		}
		v.see(&e)
		v.known = v.known || e.Hash == known
	}
	switch {
	case headErr == nil && last.Sequence > v.next:
		// Others may have added meanwhile; the head was read first, so that it cannot be ahead.
		v.fault("the log ends at entry %d, and its head is %d: the end was removed", v.next, last.Sequence)
	case headErr == nil && last.Sequence > 0 && v.hashes[last.Sequence%recent] != last.Hash && v.next-last.Sequence < recent:
		v.fault("entry %d is not the one that the head names", last.Sequence)
	}
	switch raw, now, err := c.head(ctx); {
	case err == nil && raw == nil && v.next > 0:
		v.fault("the log has %d entries, and its head is missing", v.next)
	case err == nil && now.Sequence < v.next:
		v.fault("the log has %d entries, but its head is %d: entries behind it were not added by the log", v.next, now.Sequence)
	}
	switch none := raw == nil && headErr == nil && !v.any; {
	case none && known == "":
		return v.report, storage.Errorf(storage.NotFound, "no audit log at %q: it has neither entries nor a head", c.prefix)
	case none:
		v.fault("no audit log at %q: it has neither entries nor a head", c.prefix)
	case !v.known:
		v.fault("no entry has the hash %s: the chain is another one", known)
	}
	v.report.Entries, v.report.Head = v.next, v.previous
	v.report.Open = v.openOnes()
	return v.report, nil
}

// recent limits how many hashes are kept to compare with a known head, after which entries may
// have been added.
const recent = 1 << 12

// verifier walks a chain.
type verifier struct {
	report   Report
	next     uint64 // the sequence of the entry before
	previous string // its hash, or empty if unknown
	hashes   [recent]string
	open     map[string]uint64 // the sequences of intents, by operation
	known    bool
	any      bool // there is an entry, or what stands in the place of one
}

func (v *verifier) fault(format string, args ...any) {
	if len(v.report.Faults) < maxTold {
		v.report.Faults = append(v.report.Faults, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) see(e *Entry) {
	switch {
	case e.Sequence != v.next+1:
		v.fault("entry %d follows entry %d: what was between is gone", e.Sequence, v.next)
	case v.previous != e.Previous && (v.previous != "" || v.next == 0):
		v.fault("entry %d does not follow from entry %d: one of them was changed", e.Sequence, v.next)
	}
	v.next, v.previous = e.Sequence, e.Hash
	v.hashes[e.Sequence%recent] = e.Hash
	if e.Result != Intent {
		delete(v.open, e.Operation)
	} else if len(v.open) < maxOpen {
		v.open[e.Operation] = e.Sequence
	}
}

// openOnes returns the first intents without an outcome.
func (v *verifier) openOnes() []uint64 {
	all := slices.Sorted(maps.Values(v.open))
	return all[:min(len(all), maxTold)]
}
