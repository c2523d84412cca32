package pebble

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/storage"
)

// view is the state of the store at a version: all of it is on the disk, as far as the
// configuration wants that.
type view struct {
	snap    *pebble.Snapshot
	version uint64
	refs    atomic.Int64 // readers, and one for being the present; 0 if closed
	gone    func()       // called when it is closed
}

// hold keeps the view until let is called. It returns false if the view is closed.
func (v *view) hold() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *view) let() {
	if v.refs.Add(-1) == 0 {
		_ = v.snap.Close() // it was open
		v.gone()
	}
}

// views holds the present, and former states that scans go on in.
type views struct {
	present atomic.Pointer[view] // nil if the store is closed
	open    sync.WaitGroup       // views that are not closed

	mu   sync.Mutex
	kept []kept // oldest first
}

// kept is a view that pages of a scan go on in.
type kept struct {
	*view
	until int64 // ms
}

// advance has reads see what is in the engine now.
func (s *views) advance(db *pebble.DB, version uint64) {
	s.open.Add(1)
	v := &view{snap: db.NewSnapshot(), version: version, gone: s.open.Done}
	v.refs.Store(1)
	if before := s.present.Swap(v); before != nil {
		before.let()
	}
}

// take returns the present, which is to be let go.
func (s *views) take() (*view, error) {
	for {
		v := s.present.Load()
		if v == nil {
			return nil, errClosed()
		}
		if v.hold() {
			return v, nil
		}
	}
}

// at returns the view of a version, which is to be let go, or nil if it is not kept.
func (s *views) at(version uint64, now int64) *view {
	if v := s.present.Load(); v != nil && v.version == version && v.hold() {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.version == version && k.until > now && k.hold() {
			return k.view
		}
	}
	return nil
}

// keep has a view stay for some time, for pages that follow. At most so many do.
func (s *views) keep(v *view, now, until int64, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.kept {
		if s.kept[i].view == v {
			s.kept[i].until = until
			return
		}
	}
	if !v.hold() {
		return
	}
	s.kept = append(s.kept, kept{v, until})
	s.expire(now)
	for len(s.kept) > most {
		s.drop(0)
	}
}

// expire lets go of what was kept long enough. The lock is held.
func (s *views) expire(now int64) {
	for i := 0; i < len(s.kept); {
		if s.kept[i].until <= now {
			s.drop(i)
		} else {
			i++
		}
	}
}

func (s *views) drop(i int) {
	s.kept[i].let()
	s.kept = append(s.kept[:i], s.kept[i+1:]...)
}

// tidy lets go of what was kept long enough.
func (s *views) tidy(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
}

// shut lets go of all, and waits for who reads.
func (s *views) shut(ctx context.Context) error {
	s.forget()
	closed := make(chan struct{})
	go func() { s.open.Wait(); close(closed) }()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

func (s *views) forget() {
	if v := s.present.Swap(nil); v != nil {
		v.let()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.kept) > 0 {
		s.drop(0)
	}
}
