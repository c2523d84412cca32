package carrier

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Followers holds the calls for changes that wait for a plugin, in place of the plugin: it
// is asked again when this host has written, and now and then. Its zero value has the
// plugin never wait itself. It is safe for concurrent use.
type Followers struct {
	// Slice limits the wait that the plugin is asked for in one call. It is zero for a module,
	// which answers no other call meanwhile.
	Slice time.Duration

	waiting atomic.Int64 // calls
	inside  atomic.Int64 // those of them that wait in the plugin
	mu      sync.Mutex
	changed chan struct{} // closed by the next change; nil if no call waits for it
}

// Limits of what followers cost a plugin.
const (
	mostInside  = 16                    // that wait in it at once: each takes one of its workers
	firstPause  = 10 * time.Millisecond // before a plugin that did not wait is asked again
	usualPause  = time.Second           // before a plugin that cannot wait is asked again,
	pauseOfEach = time.Millisecond      // and longer by this for each follower
)

// Changed wakes those who wait. Without any it costs a look.
func (f *Followers) Changed() {
	if f.waiting.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// next is closed by the next change.
func (f *Followers) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// Ask has ask answer q, again and again while there is nothing and q's wait lasts.
func (f *Followers) Ask(ctx context.Context, q storage.ChangeQuery, ask func(context.Context, storage.ChangeQuery) (storage.ChangePage, error)) (storage.ChangePage, error) {
	if q.Wait == 0 || q.FromNow {
		q.Wait = 0
		return ask(ctx, q)
	}
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	end, pause := time.Now().Add(q.Wait), firstPause
	for {
		changed, began := f.next(), time.Now()
		one := q
		leave := f.enter(&one, time.Until(end))
		page, err := ask(ctx, one)
		leave()
		left := time.Until(end)
		if err != nil || len(page.Changes) > 0 || left <= 0 {
			return page, err
		}
		q.After = page.Next
		switch {
		case one.Wait == 0:
			pause = usualPause + time.Duration(f.waiting.Load())*pauseOfEach
		case time.Since(began) >= one.Wait/2:
			pause = firstPause
			continue
		default: // it did not wait, though it might have
			pause = min(2*pause, usualPause)
		}
		timer := time.NewTimer(min(left, pause))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return storage.ChangePage{}, storage.ContextError(ctx)
		}
		timer.Stop()
	}
}

// enter says in q how long the plugin may wait, if it may at all. leave is to be called
// after it.
func (f *Followers) enter(q *storage.ChangeQuery, left time.Duration) (leave func()) {
	q.Wait = 0
	if f.Slice == 0 || left <= 0 {
		return func() {}
	}
	if f.inside.Add(1) <= mostInside {
		q.Wait = min(left, f.Slice)
	}
	return func() { f.inside.Add(-1) }
}
