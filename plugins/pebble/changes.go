package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// What one look at the log reads at most, in records and bytes of them: a follower of a few
// keys among many goes on from there.
const (
	mostRecords     = 20_000
	mostRecordBytes = 32 << 20
)

// Changes returns a page of the log: see [storage.Backend].
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, err
	}
	if !b.config.Changes {
		return storage.ChangePage{}, &storage.Error{Code: storage.Unsupported, Op: "changes", Layer: "pebble", Msg: "the store keeps no log of changes: set changes: true"}
	}
	q.Limit, q.MaxBytes = limit(q.Limit, pageItems, maxItems), limit(q.MaxBytes, pageBytes, maxBytes)
	end := time.Now().Add(min(q.Wait, storage.MostWait))
	for {
		if err := ctx.Err(); err != nil {
			return storage.ChangePage{}, storage.ContextError(ctx)
		}
		news, done := b.news.next()
		page, more, err := b.changesAfter(ctx, q)
		left := time.Until(end)
		if err != nil || len(page.Changes) > 0 || q.FromNow || left <= 0 {
			done()
			return page, err
		}
		q.After = page.Next
		if !more {
			err = b.wait(ctx, news, left)
		}
		done()
		if err != nil {
			return storage.ChangePage{}, err
		}
	}
}

// wait waits for news, for as long as is left, while the store is open.
func (b *Backend) wait(ctx context.Context, news <-chan struct{}, left time.Duration) error {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-news:
	case <-timer.C:
	case <-b.living.Done():
		return errClosed()
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	return nil
}

// changesAfter returns the page of what there is; more: the log goes on behind it.
func (b *Backend) changesAfter(ctx context.Context, q storage.ChangeQuery) (page storage.ChangePage, more bool, err error) {
	v, err := b.views.take()
	if err != nil {
		return page, false, err
	}
	defer v.let()
	if q.FromNow {
		return storage.ChangePage{Next: v.version}, false, nil
	}
	if err := follows(v, &q); err != nil {
		return page, false, err
	}
	iter, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: changeKey(q.After + 1), UpperBound: changeKey(v.version + 1)})
	if err != nil {
		return page, false, failed(err)
	}
	c := collects{q: q, into: storage.NewChangeCollector(q), records: mostRecords, bytes: mostRecordBytes}
	ok := iter.First()
	for ; ok && err == nil; ok = iter.Next() {
		var full bool
		if full, err = c.record(iter); full {
			break
		}
		if c.records&1023 == 0 && ctx.Err() != nil {
			err = storage.ContextError(ctx)
		}
	}
	if err == nil {
		err = iter.Error()
	}
	if closed := iter.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return page, false, failed(err)
	}
	if !ok {
		c.into.Reach(v.version)
	}
	return c.into.Page(), ok, nil
}

// follows refuses a version that a view's log does not go on from.
func follows(v *view, q *storage.ChangeQuery) error {
	first, err := number(v.snap, metaChanges)
	if err != nil {
		return failed(err)
	}
	if err := q.CheckAfter(first, v.version); err != nil {
		return err
	}
	iter, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: gapKey(q.After + 1), UpperBound: []byte{spaceGap + 1}})
	if err != nil {
		return failed(err)
	}
	var from uint64
	found := iter.First()
	if found {
		if value, err := iter.ValueAndErr(); err == nil && len(value) == 8 {
			from = binary.BigEndian.Uint64(value)
		}
	}
	if err := iter.Close(); err != nil {
		return failed(err)
	}
	if found && from < q.After {
		return storage.Errorf(storage.VersionGone, "version %d is of a state that is lost: the store was put back to version %d; scan again, and go on from the version of the page", q.After, from)
	}
	return nil
}

// collects makes a page from records.
type collects struct {
	q              storage.ChangeQuery
	into           *storage.ChangeCollector
	records, bytes int // that are left to look at
	made           []storage.Change
}

// record puts what the iterator is at onto the page; full: it is for another page.
func (c *collects) record(iter *pebble.Iterator) (full bool, err error) {
	if c.records == 0 || c.bytes < 0 {
		return true, nil
	}
	value, err := iter.ValueAndErr()
	if err != nil {
		return false, err
	}
	c.records--
	c.bytes -= len(value)
	version := binary.BigEndian.Uint64(iter.Key()[1:])
	if c.made, err = durable.ReadChanges(c.made[:0], value, version); err != nil {
		return false, err
	}
	n := 0
	for _, one := range c.made {
		if c.q.Clip(&one) {
			one.Key, one.End, one.Value = bytes.Clone(one.Key), bytes.Clone(one.End), bytes.Clone(one.Value)
			c.made[n] = one
			n++
		}
	}
	return !c.into.Add(version, c.made[:n]...), nil
}

// news notifies waiting callers of new versions.
type news struct {
	waiting atomic.Int64
	mu      sync.Mutex
	came    chan struct{} // closed by the next; nil if no call waits
}

// next returns a channel that the next change closes. The caller must call done when it
// waits no longer.
func (n *news) next() (came <-chan struct{}, done func()) {
	n.waiting.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.came == nil {
		n.came = make(chan struct{})
	}
	return n.came, func() { n.waiting.Add(-1) }
}

// tell wakes waiting callers. Without any it costs one load.
func (n *news) tell() {
	if n.waiting.Load() == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.came != nil {
		close(n.came)
		n.came = nil
	}
}
