package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
)

// Buffer holds a unit of work. It is safe for concurrent use.
type Buffer struct {
	next  storage.Backend
	clock *clock.Clock
	turn  chan struct{} // held while a commit is under way

	mu     sync.Mutex
	top    *layer // never changed, but replaced
	frozen *layer // what is being committed, or whose commit has an unknown outcome
	begun  int    // commits, so that a read below sees whether one came in between
	closed bool
}

// New returns an empty buffer over next, which it never closes. source, by which
// buffered items expire, is the clock of next; by default that of package clock.
func New(next storage.Backend, source func() time.Time) *Buffer {
	return &Buffer{next: next, clock: clock.New(source), turn: make(chan struct{}, 1), top: &layer{}}
}

func (b *Buffer) view() view {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.viewed()
}

// viewed returns a view, with the lock held. Its now never goes back: what has expired
// stays so.
func (b *Buffer) viewed() view {
	return view{b.top, b.frozen, b.begun, b.clock.Now()}
}

// beneath makes a read below that belongs with what the buffer holds. What was
// buffered when it began may be below when it ends, and something else with it:
// then both are read again.
func beneath[A any](ctx context.Context, b *Buffer, read func(view) (A, error)) (answer A, err error) {
	for {
		if err := storage.ContextError(ctx); err != nil {
			return answer, err
		}
		v := b.view()
		if answer, err = read(v); err != nil || b.view().begun == v.begun {
			return answer, err
		}
	}
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
	read := map[string]storage.Item{} // from below; without a key: absent
	begun := b.view().begun
	for {
		if err := storage.ContextError(ctx); err != nil {
			return 0, err
		}
		missing, err := b.try(w, read, &begun, info.Limits)
		if len(missing) == 0 {
			return 0, err
		}
		for _, key := range missing {
			it, err := b.next.Get(ctx, key)
			switch {
			case err == nil:
				it.Key = key
				read[string(key)] = it
			case errors.Is(err, storage.ErrNotFound):
				read[string(key)] = storage.Item{}
			default:
				return 0, err
			}
		}
	}
}

// try buffers w if it can judge all of its conditions, else it returns the keys that
// have to be read first. What was read before the latest commit is not believed.
func (b *Buffer) try(w *storage.WriteSet, read map[string]storage.Item, begun *int, l storage.Limits) (missing [][]byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, &storage.Error{Code: storage.ShuttingDown, Msg: "the buffer is closed"}
	}
	v := b.viewed()
	if v.begun != *begun {
		*begun = v.begun
		clear(read)
	}
	top := b.top.copy()
	for i, c := range w.Checks {
		p, known := v.get(c.Key)
		if !known {
			it, was := read[string(c.Key)]
			if !was {
				missing = append(missing, bytes.Clone(c.Key))
				continue
			}
			p = pending{it.Value, it.ExpiresAt, it.Key != nil}
		}
		if len(missing) > 0 {
			continue // the first that does not hold is reported, once all are known
		}
		if !holds(c, p, v.now) {
			return nil, storage.ConflictAt(i)
		}
		if !known {
			top.check(c)
		}
	}
	if len(missing) > 0 {
		return missing, nil
	}
	top.apply(w.Ops)
	if err := top.within(l); err != nil {
		return nil, err
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

// Commit applies all that is buffered as one write set, and returns its version; 0
// where there was nothing. Where it fails, everything stays buffered, and the
// buffer can be read, written to, committed again or discarded. After an unknown
// outcome the same write set is what the next Commit applies first: over an
// idempotent backend under the same ID, which settles it while the backend
// remembers that. Later, and over any other, it may be applied twice, which is for
// the caller to decide. What is written while a commit is under way comes with the
// next one.
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
		b.begun++
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
		// Where both together would be too large, the next commit applies one after the other.
		if both := frozen.under(b.top); both.within(b.next.Info().Limits) == nil {
			b.top, b.frozen = both, nil
		}
	}
	return version, err
}

// Discard drops all that is buffered. It waits for a commit in progress.
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

// Pending returns the number of ops and checks that wait for a commit.
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

// Close discards uncommitted writes. It is idempotent.
func (b *Buffer) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.Discard(ctx)
}

var _ storage.Backend = (*Buffer)(nil)
