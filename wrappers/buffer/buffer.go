package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Buffer is a unit of work. It is safe for concurrent use.
type Buffer struct {
	next  storage.Backend
	clock func() time.Time
	turn  chan struct{} // held while a commit is under way

	mu     sync.Mutex
	top    *layer // never changed, but replaced
	frozen *layer // what is being committed, or whose commit has an unknown outcome
	closed bool
	last   time.Time // the latest now that was seen
}

// New is an empty buffer over next, which it never closes. clock, by which
// buffered items expire, is that of next; nil: time.Now.
func New(next storage.Backend, clock func() time.Time) *Buffer {
	if clock == nil {
		clock = time.Now
	}
	return &Buffer{next: next, clock: clock, turn: make(chan struct{}, 1), top: &layer{}}
}

func (b *Buffer) view() view {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.viewed()
}

// viewed is view with the lock held. Its now never goes back: what has expired
// stays so.
func (b *Buffer) viewed() view {
	if now := b.clock(); now.After(b.last) {
		b.last = now
	}
	return view{b.top, b.frozen, b.last}
}

// Apply buffers w. Its conditions are judged now; those on keys that the buffer
// does not know are judged again at the commit. The version is 0. What would make
// the commit larger than the backend's limits is a SizeLimit, and is not
// buffered.
func (b *Buffer) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.Info()
	if err := w.Validate(&info); err != nil {
		return 0, err
	}
	read := map[string]storage.Item{} // from below; without a value: absent
	for {
		if err := storage.ContextError(ctx); err != nil {
			return 0, err
		}
		missing, err := b.try(w, read, info.Limits)
		if missing == nil {
			return 0, err
		}
		it, err := b.next.Get(ctx, missing)
		switch {
		case err == nil:
			it.Key = missing
			read[string(missing)] = it
		case errors.Is(err, storage.ErrNotFound):
			read[string(missing)] = storage.Item{}
		default:
			return 0, err
		}
	}
}

// try buffers w if it can judge all of its conditions, else it answers a key that
// has to be read first.
func (b *Buffer) try(w *storage.WriteSet, read map[string]storage.Item, l storage.Limits) (missing []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, &storage.Error{Code: storage.ShuttingDown, Msg: "the buffer is closed"}
	}
	v := b.viewed()
	top := b.top.copy()
	for i, c := range w.Checks {
		p, known := v.get(c.Key)
		if !known {
			it, was := read[string(c.Key)]
			if !was {
				return append([]byte{}, c.Key...), nil
			}
			p = pending{it.Value, it.ExpiresAt, it.Key != nil}
		}
		if !holds(c, p, v.now) {
			return nil, storage.ConflictAt(i)
		}
		if !known {
			top.check(c)
		}
	}
	top.apply(w.Ops)
	if l.Ops > 0 && top.size() > l.Ops {
		return nil, storage.LimitError(storage.SizeLimit, "ops", int64(l.Ops), int64(top.size()))
	}
	if l.WriteBytes > 0 && top.bytes > l.WriteBytes {
		return nil, storage.LimitError(storage.SizeLimit, "write set bytes", int64(l.WriteBytes), int64(top.bytes))
	}
	b.top = top
	return nil, nil
}

// holds judges a check. Those on versions and ranges are not supported here.
func holds(c storage.Check, p pending, now time.Time) bool {
	switch c.Kind {
	case storage.CheckAbsent:
		return !p.live(now)
	case storage.CheckPresent:
		return p.live(now)
	}
	return p.live(now) && bytes.Equal(p.value, c.Value)
}

// Commit applies all that is buffered as one write set and answers its version; 0
// where there was nothing. Where it fails, everything stays buffered, and the
// buffer can be read, written to, committed again or discarded. After an unknown
// outcome the same write set is what the next Commit applies first: over an
// idempotent backend under the same ID, so that it settles; over any other it may
// be applied twice, which is for the caller to decide. What is written while a
// commit is under way comes with the next one.
func (b *Buffer) Commit(ctx context.Context) (version uint64, err error) {
	if err := b.lock(ctx); err != nil {
		return 0, err
	}
	defer b.unlock()
	unsettled := b.frozen != nil
	if version, err = b.commit(ctx); err != nil || !unsettled {
		return version, err
	}
	settled := version
	if version, err = b.commit(ctx); version == 0 {
		version = settled
	}
	return version, err
}

// commit applies what is frozen, or else the top.
func (b *Buffer) commit(ctx context.Context) (uint64, error) {
	b.mu.Lock()
	if b.frozen == nil {
		if b.top.empty() {
			b.mu.Unlock()
			return 0, nil
		}
		b.frozen, b.top = b.top, &layer{}
		if b.next.Info().Caps.Has(storage.CapIdempotent) {
			binary.LittleEndian.PutUint64(b.frozen.id[:8], rand.Uint64())
			binary.LittleEndian.PutUint64(b.frozen.id[8:], rand.Uint64())
		}
	}
	frozen := b.frozen
	b.mu.Unlock()
	version, err := b.next.Apply(ctx, frozen.writeSet())
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := storage.AsError(err); {
	case e == nil:
		b.frozen = nil
	case !e.Unknown:
		b.top, b.frozen = frozen.under(b.top), nil
	}
	return version, err
}

// Discard drops all that is buffered. It waits for a commit that is under way.
func (b *Buffer) Discard(ctx context.Context) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.top, b.frozen = &layer{}, nil
	return nil
}

// Pending is how many ops and checks wait for a commit.
func (b *Buffer) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.top.size()
	if b.frozen != nil {
		n += b.frozen.size()
	}
	return n
}

func (b *Buffer) lock(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

func (b *Buffer) unlock() { <-b.turn }

// Close discards what was not committed. It is idempotent.
func (b *Buffer) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.Discard(ctx)
}

var _ storage.Backend = (*Buffer)(nil)
