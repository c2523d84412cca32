package grpcserver

import (
	"context"
	"sync"
	"time"

	"github.com/plinthkv/plinth/abi/abigrpc"
	"github.com/plinthkv/plinth/storage"
)

// fence keeps the attempts of one write apart. An attempt whose connection broke
// may be still on its way while its caller makes another: they run one after the
// other, and when one was refused for good, so are those that come later. That is
// why a caller may take a refusal for the end of all attempts. What was applied,
// the backend remembers itself.
type fence struct {
	mu      sync.Mutex
	running map[fenceKey]chan struct{}
	refused map[fenceKey]refusal
	order   []fenceKey // of refused, from old to new
}

// fenceKey names a write: the store, and what the caller calls it.
type fenceKey struct {
	store *storage.Store
	write [16]byte
}

type refusal struct {
	err   *storage.Error
	until int64 // ms; after it no attempt is begun anyway
}

// maxRefused bounds what a fence remembers.
const maxRefused = 1 << 16

func newFence() *fence {
	return &fence{running: map[fenceKey]chan struct{}{}, refused: map[fenceKey]refusal{}}
}

// enter waits for its turn; an error is the refusal of an attempt before.
func (f *fence) enter(ctx context.Context, k fenceKey) error {
	for {
		f.mu.Lock()
		if r, ok := f.refused[k]; ok {
			f.mu.Unlock()
			return r.err
		}
		other, busy := f.running[k]
		if !busy {
			f.running[k] = make(chan struct{})
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
}

// leave ends a turn with its outcome, which it answers: a refusal that cannot be
// remembered is not one that a caller may rely on.
func (f *fence) leave(k fenceKey, err error, until int64, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.running[k])
	delete(f.running, k)
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
