package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// Apply does all of w or nothing: see [storage.Backend]. Once the write has begun it is
// waited for, however long the disk takes.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := w.Validate(&b.info); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, storage.ContextError(ctx)
	}
	r := &request{writes: w, done: make(chan bool, 1)}
	if w.ID != [16]byte{} {
		r.digest = durable.Digest(w)
	}
	return b.submit(ctx, r)
}

// submit has a request done, by this caller or by another.
func (b *Backend) submit(ctx context.Context, r *request) (uint64, error) {
	lead, err := b.queue.enter(r)
	if err != nil {
		return 0, err
	}
	if !lead {
		select {
		case done := <-r.done:
			if done {
				return r.version, r.err
			}
		case <-ctx.Done():
			if b.queue.leave(r) {
				return 0, storage.ContextError(ctx)
			}
			if done := <-r.done; done {
				return r.version, r.err
			}
			b.queue.pass()
			return 0, storage.ContextError(ctx)
		}
	}
	b.lead(r)
	return r.version, r.err
}

// lead does a request and the waiting ones, and hands the lead on. If the engine panics,
// the outcome of all of them is unknown.
func (b *Backend) lead(own *request) {
	requests := b.queue.gather(own, nil)
	defer b.queue.pass()
	defer func() {
		for _, r := range requests[1:] {
			r.done <- true
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			b.fails(requests, fmt.Errorf("%v", p))
			panic(p)
		}
	}()
	b.commit(requests)
}

// fails ends all writing: the engine does not know what is on the disk. Requests that were
// refused before stay refused.
func (b *Backend) fails(requests []*request, why error) {
	for _, r := range requests {
		if r.err == nil {
			r.err = storage.Errorf(storage.OutcomeUnknown, "the write failed: %w", why)
		}
	}
	b.wear.failed(why)
	b.queue.breaks(storage.Errorf(storage.Unavailable, "a write failed, and the store refuses further writes until it is reopened: %w", why))
}

// group is a batch that one sync makes durable.
type group struct {
	b       *Backend
	batch   *pebble.Batch
	now     int64
	version uint64 // of the last write in it
	looks   int    // that the write set has left for items of ranges
}

// mostLooks limits how many items of ranges are looked at for a write set, for its checks
// and deletes together: others wait meanwhile.
const mostLooks = 1 << 20

// commit does the requests, one after the other, each on the state that those before it
// leave, and answers them when all of it is on the disk.
func (b *Backend) commit(requests []*request) {
	g := &group{b: b, now: b.now(), version: b.version}
	if looks(requests) {
		g.batch = b.db.NewIndexedBatch()
	} else {
		g.batch = b.db.NewBatch()
	}
	defer g.batch.Close()
	for _, r := range requests {
		if r.work != nil {
			r.err = r.work(g)
		} else {
			r.version, r.err = g.apply(r)
		}
	}
	if b.config.Changes {
		if err := g.turn(); err != nil {
			panic(err) // a batch takes it
		}
	}
	if g.batch.Empty() {
		return
	}
	sync := pebble.NoSync
	if b.config.Sync == syncAlways {
		sync = pebble.Sync
	}
	if g.version > b.reserved { // the reservation must be on the disk before such a version is visible
		b.reserved = g.version + reserve
		b.set(g.batch, metaReserved, eight(b.reserved))
		sync = pebble.Sync
	}
	if err := g.batch.Commit(sync); err != nil {
		b.fails(requests, err)
		return
	}
	advanced := b.version != g.version
	b.version = g.version
	b.views.advance(b.db, b.version)
	if advanced {
		b.news.tell()
	}
}

// looks reports whether a request has to see what those before it do.
func looks(requests []*request) bool {
	for _, r := range requests {
		if r.work != nil || len(r.writes.Checks) > 0 {
			return true
		}
		for i := range r.writes.Ops {
			if r.writes.Ops[i].Kind != storage.OpPut || !r.writes.Ops[i].ExpiresAt.IsZero() {
				return true
			}
		}
	}
	return false
}

// apply does all of a write set, or nothing of it.
func (g *group) apply(r *request) (uint64, error) {
	w := r.writes
	if version, err := g.b.ids.find(w.ID, r.digest); err != nil || version != 0 {
		return version, err
	}
	g.looks = mostLooks
	for i := range w.Checks {
		ok, err := g.meets(&w.Checks[i])
		switch {
		case err != nil:
			return 0, err
		case !ok:
			return 0, storage.ConflictAt(i)
		}
	}
	if err := g.b.disk.room(w); err != nil {
		return 0, err
	}
	if err := g.readable(w); err != nil {
		return 0, err
	}
	g.looks = math.MaxInt // what follows looks at no more than what was looked at
	version, changed := g.version+1, false
	logs := g.b.config.Changes
	g.b.changes.did = g.b.changes.did[:0]
	for i := range w.Ops {
		did, err := g.do(&w.Ops[i], version)
		switch {
		case err != nil && i == 0:
			return 0, err
		case err != nil:
			panic(err) // a part of w is in the batch, which must not be written
		}
		changed = changed || did
		if logs {
			g.b.changes.did = append(g.b.changes.did, did)
		}
	}
	if changed {
		g.version = version
		if logs {
			if err := g.log(w, version); err != nil {
				panic(err) // a batch takes it
			}
		}
	}
	g.b.ids.keep(g.batch, w.ID, r.digest, g.version)
	return g.version, nil
}

// readable refuses a write set of which a part cannot be looked at, before any of it is in
// the batch.
func (g *group) readable(w *storage.WriteSet) error {
	if len(w.Ops) == 1 {
		return nil
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		var err error
		switch {
		case o.Kind == storage.OpDeleteRange:
			_, err = g.any(o.Key, o.End, func(record) bool { return true })
		case o.Kind == storage.OpDelete || !o.ExpiresAt.IsZero():
			var rec record
			var closer io.Closer
			if rec, closer, err = look(g.batch, o.Key, g.now); rec != nil {
				err = closer.Close()
			}
		}
		if err != nil {
			return failed(err)
		}
	}
	return nil
}

// meets reports whether a check holds.
func (g *group) meets(c *storage.Check) (bool, error) {
	if c.Kind == storage.CheckRange {
		newer, err := g.newer(c)
		return !newer, err
	}
	rec, closer, err := look(g.batch, c.Key, g.now)
	if err != nil {
		return false, err
	}
	ok := false
	switch c.Kind {
	case storage.CheckAbsent:
		ok = rec == nil
	case storage.CheckPresent:
		ok = rec != nil
	case storage.CheckValue:
		ok = rec != nil && string(rec.value()) == string(c.Value)
	case storage.CheckVersion:
		ok = rec != nil && rec.version() == c.Version
	}
	if rec != nil {
		err = closer.Close()
	}
	return ok, err
}

// newer reports whether a live item of the range is newer than the check's version.
func (g *group) newer(c *storage.Check) (bool, error) {
	if c.Version >= g.version {
		return false, nil
	}
	return g.any(c.Key, c.End, func(r record) bool { return r.version() > c.Version })
}

// any reports whether a live item of the range is as wanted.
func (g *group) any(start, end []byte, wanted func(record) bool) (found bool, err error) {
	if storage.EmptyRange(start, end) {
		return false, nil
	}
	lower, upper := dataBounds(start, end)
	iter, err := g.batch.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return false, failed(err)
	}
	for ok := iter.First(); ok && !found && err == nil; ok = iter.Next() {
		if g.looks--; g.looks < 0 {
			err = storage.LimitError(storage.RangeLimit, "items in the ranges of a write set", mostLooks, mostLooks+1)
			break
		}
		var value []byte
		if value, err = iter.ValueAndErr(); err == nil {
			var rec record
			if rec, err = readRecord(value); err == nil {
				found = rec.live(g.now) && wanted(rec)
			}
		}
	}
	if closed := iter.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return false, failed(err)
	}
	return found, nil
}

// do does an op at a version, and reports whether that changed what readers see.
func (g *group) do(o *storage.Op, version uint64) (changed bool, err error) {
	at := durable.Millis(o.ExpiresAt)
	switch {
	case o.Kind == storage.OpPut && (at == 0 || at > g.now):
		return true, g.put(o.Key, o.Value, at, version)
	case o.Kind == storage.OpDeleteRange:
		if storage.EmptyRange(o.Key, o.End) {
			return false, nil
		}
		changed, err = g.any(o.Key, o.End, func(record) bool { return true })
		if err != nil {
			return false, err
		}
		if !changed {
			return false, g.lapseRange(o.Key, o.End)
		}
		lower, upper := dataBounds(o.Key, o.End)
		return true, g.batch.DeleteRange(lower, upper, nil)
	}
	rec, closer, err := look(g.batch, o.Key, 0)
	if err != nil || rec == nil {
		return false, err
	}
	live := rec.live(g.now)
	if err := closer.Close(); err != nil {
		return false, failed(err)
	}
	if !live {
		return false, g.lapse(o.Key)
	}
	return true, g.batch.Delete(dataKey(nil, o.Key), nil)
}

// lapsed is the expiry, in ms, of an item that was removed after it had expired.
const lapsed = 1

// lapse removes an item that has expired, which readers do not notice. Else it would be there
// again if the clock turns out to have been ahead and the program starts anew. A log of changes
// says that it has expired once it is collected.
func (g *group) lapse(key []byte) error {
	if !g.b.config.Changes {
		return g.batch.Delete(dataKey(nil, key), nil)
	}
	return g.put(key, nil, lapsed, 0)
}

// lapseRange removes the items of a range, all of which have expired.
func (g *group) lapseRange(start, end []byte) error {
	lower, upper := dataBounds(start, end)
	iter, err := g.batch.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return failed(err)
	}
	var keys [][]byte
	most := mostLooks
	if !g.b.config.Changes { // one is enough
		most = 0
	}
	for ok := iter.First(); ok && len(keys) <= most; ok = iter.Next() {
		keys = append(keys, bytes.Clone(iter.Key()[1:]))
	}
	if err := iter.Close(); err != nil {
		return failed(err)
	}
	if len(keys) > 0 && !g.b.config.Changes {
		return g.batch.DeleteRange(lower, upper, nil)
	}
	if len(keys) > mostLooks { // of a single op: see readable
		return storage.LimitError(storage.RangeLimit, "items in the ranges of a write set", mostLooks, int64(len(keys)))
	}
	for _, key := range keys {
		if err := g.lapse(key); err != nil {
			return err
		}
	}
	return nil
}

// put writes an item, and when it expires into the index of deadlines.
func (g *group) put(key, value []byte, at int64, version uint64) error {
	d := g.batch.SetDeferred(1+len(key), header+len(value))
	d.Key[0] = spaceData
	copy(d.Key[1:], key)
	binary.BigEndian.PutUint64(d.Value, version)
	binary.BigEndian.PutUint64(d.Value[8:], uint64(at))
	copy(d.Value[header:], value)
	if err := d.Finish(); err != nil || at == 0 {
		return err
	}
	return g.batch.Set(deadlineKey(at, key), nil, nil)
}
