package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What a tail keeps at most, and for how long it goes on when nobody follows.
const (
	tailChanges   = 1 << 16
	tailBytes     = 16 << 20
	changeExtra   = 144 // bytes of a change beside its keys and value
	unusedFor     = 5 * time.Minute
	rewatchAfter  = 100 * time.Millisecond // a watch that ended
	mostFollowers = 4096                   // calls that wait at once
)

// tail is the latest changes of the store, from one watch that all followers of this host
// share, from when somebody began to follow.
type tail struct {
	b *Backend

	mu        sync.Mutex
	runs      bool
	used      time.Time
	sets      []changeSet // in the order of their versions
	count     int         // changes in them
	bytes     int
	base      uint64 // all changes after it are there, up to published
	published uint64
	changed   chan struct{} // closed when published advances, or the tail begins anew
	waiting   int
	watch     *watch // nil: there is none at the moment
}

type changeSet struct {
	version uint64
	changes []storage.Change
	bytes   int
}

// follow has the tail run, from a version on that the cluster has come to.
func (t *tail) follow(version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = time.Now()
	if t.runs {
		return
	}
	t.runs = true
	t.anew(version)
	t.b.ended.Go(func() { t.run(t.b.living) })
}

// anew has the tail begin after a version. The lock is held.
func (t *tail) anew(version uint64) {
	t.sets, t.count, t.bytes = nil, 0, 0
	t.base, t.published = version, version
	t.tell()
}

// tell wakes who waits. The lock is held.
func (t *tail) tell() {
	if t.changed != nil {
		close(t.changed)
	}
	t.changed = make(chan struct{})
}

// run watches until nobody has followed for long, or the store is closed.
func (t *tail) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.b.ended.Go(func() { t.idles(ctx, cancel) })
	for ctx.Err() == nil {
		err := t.hear(ctx)
		var gone compacted
		if errors.As(err, &gone) {
			t.mu.Lock()
			t.anew(max(uint64(gone.oldest), t.published))
			t.mu.Unlock()
		}
		timer := time.NewTimer(rewatchAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs = false
	t.sets, t.count, t.bytes = nil, 0, 0
	t.tell()
}

// idles ends the tail when nobody has followed for long.
func (t *tail) idles(ctx context.Context, end func()) {
	ticker := time.NewTicker(unusedFor / 10)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		t.mu.Lock()
		over := t.waiting == 0 && time.Since(t.used) > unusedFor
		t.mu.Unlock()
		if over {
			end()
			return
		}
	}
}

// hear is one watch, until it ends.
func (t *tail) hear(ctx context.Context) error {
	t.mu.Lock()
	after := t.published
	t.mu.Unlock()
	w, err := t.b.watches(ctx, t.b.space.data, t.b.space.end, int64(after))
	if err != nil {
		return err
	}
	defer w.cancel()
	t.mu.Lock()
	t.watch = w
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.watch = nil
		t.mu.Unlock()
	}()
	h := heard{changes: t.add, progress: func(version int64) bool { return t.add(version, nil) }}
	for {
		if _, err := w.receive(h); err != nil {
			return err
		}
	}
}

// add publishes what changed at a version, or that nothing did up to it.
func (t *tail) add(version int64, changes []storage.Change) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if uint64(version) <= t.published {
		return true
	}
	if len(changes) > 0 {
		s := changeSet{version: uint64(version), changes: changes}
		for i := range changes {
			s.bytes += changes[i].Size() + changeExtra
		}
		t.sets = append(t.sets, s)
		t.count += len(changes)
		t.bytes += s.bytes
	}
	n := 0
	for n < len(t.sets) && (t.count > tailChanges || t.bytes > tailBytes) {
		t.count -= len(t.sets[n].changes)
		t.bytes -= t.sets[n].bytes
		t.base = t.sets[n].version
		t.sets[n] = changeSet{}
		n++
	}
	t.sets = t.sets[n:]
	t.published = uint64(version)
	t.tell()
	return true
}

// page is what the tail has of a query; covers: it has all after q.After, up to published.
func (t *tail) page(q storage.ChangeQuery) (page storage.ChangePage, covers bool, published uint64, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = time.Now()
	if !t.runs || q.After < t.base {
		return page, false, 0, nil
	}
	c := storage.NewChangeCollector(q)
	full := false
	for i := t.search(q.After); i < len(t.sets) && !full; i++ {
		full = !c.Add(t.sets[i].version, t.sets[i].changes...)
	}
	if !full {
		c.Reach(t.published)
	}
	return c.Page(), true, t.published, t.changed
}

// search is the first set after a version. The lock is held.
func (t *tail) search(after uint64) int {
	low, high := 0, len(t.sets)
	for low < high {
		if mid := (low + high) / 2; t.sets[mid].version <= after {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// ask asks the member for progress.
func (t *tail) ask() {
	t.mu.Lock()
	w := t.watch
	t.mu.Unlock()
	if w != nil {
		w.ask()
	}
}

// enter counts one who waits, of a bounded number; leave is to be called if it is nil.
func (t *tail) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting >= mostFollowers {
		e := storage.Errorf(storage.Unavailable, "%d calls wait for changes already, the limit is %d", t.waiting, mostFollowers)
		e.RetryAfter, e.Layer = time.Second, layer
		return e
	}
	t.waiting++
	return nil
}

func (t *tail) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
}
