package grpcserver

import (
	"context"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/storage"
)

// fence keeps the attempts of one write apart. An attempt whose connection broke
// may be still on its way while its caller makes another: they run one after the
// other, and when one was refused for good, so are those that come later. That is
// why a caller may take a refusal for the end of all attempts. What was applied,
// the backend remembers itself.
type fence struct {
	mu      sync.Mutex
	running map[fenceKey]*turn
	refused map[fenceKey]refusal
	order   []fenceKey // of refused, from old to new
}

// fenceKey names a write: the store, and what the caller calls it.
type fenceKey struct {
	store *storage.Store
	write [16]byte
}

// turn is that of a write that is being applied.
type turn struct {
	next    chan struct{} // of one: whoever takes it has the turn
	waiting int
}

type refusal struct {
	err   *storage.Error
	until int64 // ms; after it no attempt is begun anyway
}

// maxRefused bounds what a fence remembers.
const maxRefused = 1 << 16

func newFence() *fence {
	return &fence{running: map[fenceKey]*turn{}, refused: map[fenceKey]refusal{}}
}

// enter waits for its turn; an error is the refusal of an attempt before. Of those
// who wait, one is woken at a time.
func (f *fence) enter(ctx context.Context, k fenceKey) error {
	f.mu.Lock()
	if r, ok := f.refused[k]; ok {
		f.mu.Unlock()
		return r.err
	}
	t, busy := f.running[k]
	if !busy {
		f.running[k] = &turn{next: make(chan struct{}, 1)}
		f.mu.Unlock()
		return nil
	}
	t.waiting++
	f.mu.Unlock()
	var left error
	select {
	case <-t.next:
	case <-ctx.Done():
		left = storage.ContextError(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.waiting--
	if left != nil {
		select {
		case <-t.next: // it was handed over meanwhile
			f.pass(k, t)
		default:
		}
		return left
	}
	if r, ok := f.refused[k]; ok {
		f.pass(k, t)
		return r.err
	}
	return nil
}

// pass hands the turn to one who waits, or ends it. The lock is held.
func (f *fence) pass(k fenceKey, t *turn) {
	if t.waiting > 0 {
		t.next <- struct{}{} // it has room: whoever had the turn has taken what was in it
		return
	}
	delete(f.running, k)
}

// leave ends a turn and returns its outcome: callers may not rely on a refusal that
// cannot be remembered.
func (f *fence) leave(k fenceKey, err error, until int64, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.pass(k, f.running[k])
	e := storage.AsError(err)
	if e == nil || !abigrpc.Settles(e) {
		return err
	}
	for len(f.order) > 0 && f.refused[f.order[0]].until < now.UnixMilli() {
		delete(f.refused, f.order[0])
		f.order = f.order[1:]
	}
	if len(f.order) >= maxRefused {
		unsure := *e
		unsure.Unknown = true
		return &unsure
	}
	f.refused[k] = refusal{e, until}
	f.order = append(f.order, k)
	return err
}
