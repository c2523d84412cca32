package changetail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Config holds what a tail needs of its backend.
type Config struct {
	Layer    string          // the name of the backend, for errors
	Living   context.Context // until the backend is closed
	Go       func(func())    // runs what ends with Living
	Patience time.Duration   // for the watch to come to what there is
	// Watch calls Add for what changed after a version, in the order of versions, until ctx ends
	// or it fails. It is called again after a while, unless ctx has ended.
	Watch func(ctx context.Context, after uint64) error
	// Ask requests that the watch report soon how far it has come.
	Ask func()
	// Older returns a page of the changes before the tail began: all up to current, or as many
	// as fit.
	Older func(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error)
}

// Gone rejects a Watch whose version is no longer kept.
type Gone struct{ Oldest uint64 } // the version to go on from

// Error says so.
func (g Gone) Error() string { return fmt.Sprintf("changes are kept from version %d on", g.Oldest) }

// New returns a tail, which begins when it is asked.
func New(c Config) *Tail { return &Tail{c: c} }

// The most that a tail keeps, and how long it goes on without followers.
const (
	mostChanges   = 1 << 16
	mostBytes     = 16 << 20
	changeExtra   = 144 // bytes of a change in addition to its keys and value
	unusedFor     = 5 * time.Minute
	rewatchAfter  = 100 * time.Millisecond // a watch that ended
	mostFollowers = 4096                   // calls that wait at once
)

// Tail keeps the latest changes of a store. It is safe for concurrent use.
type Tail struct {
	c Config

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
}

type changeSet struct {
	version uint64
	changes []storage.Change
	bytes   int
}

// follow has the tail run, from a version on that the cluster has come to.
func (t *Tail) follow(version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = time.Now()
	if t.runs {
		return
	}
	t.runs = true
	t.anew(version)
	t.c.Go(func() { t.run(t.c.Living) })
}

// anew has the tail begin after a version. The lock is held.
func (t *Tail) anew(version uint64) {
	t.sets, t.count, t.bytes = nil, 0, 0
	t.base, t.published = version, version
	t.tell()
}

// tell wakes the waiters. The lock is held.
func (t *Tail) tell() {
	if t.changed != nil {
		close(t.changed)
	}
	t.changed = make(chan struct{})
}

// run watches until there have been no followers for long, or the store is closed.
func (t *Tail) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.c.Go(func() { t.idles(ctx, cancel) })
	for ctx.Err() == nil {
		t.mu.Lock()
		after := t.published
		t.mu.Unlock()
		err := t.c.Watch(ctx, after)
		var gone Gone
		if errors.As(err, &gone) {
			t.mu.Lock()
			t.anew(max(gone.Oldest, t.published))
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

// idles ends the tail when there have been no followers for long.
func (t *Tail) idles(ctx context.Context, end func()) {
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

// Add publishes what changed at a version, or that nothing did up to it. It owns the changes.
func (t *Tail) Add(version uint64, changes []storage.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version <= t.published {
		return
	}
	if len(changes) > 0 {
		s := changeSet{version: version, changes: changes}
		for i := range changes {
			s.bytes += changes[i].Size() + changeExtra
		}
		t.sets = append(t.sets, s)
		t.count += len(changes)
		t.bytes += s.bytes
	}
	n := 0
	for n < len(t.sets) && (t.count > mostChanges || t.bytes > mostBytes) {
		t.count -= len(t.sets[n].changes)
		t.bytes -= t.sets[n].bytes
		t.base = t.sets[n].version
		t.sets[n] = changeSet{}
		n++
	}
	t.sets = t.sets[n:]
	t.published = version
	t.tell()
}

// page returns what the tail has of a query; covers: it has all after q.After, up to published.
func (t *Tail) page(q storage.ChangeQuery) (page storage.ChangePage, covers bool, published uint64, changed <-chan struct{}) {
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

// search returns the first set after a version. The lock is held.
func (t *Tail) search(after uint64) int {
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

// enter counts a waiter; their number is bounded. If it returns nil, call leave afterwards.
func (t *Tail) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting >= mostFollowers {
		e := storage.Errorf(storage.Unavailable, "%d calls wait for changes already, the limit is %d", t.waiting, mostFollowers)
		e.RetryAfter, e.Layer = time.Second, t.c.Layer
		return e
	}
	t.waiting++
	return nil
}

func (t *Tail) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
}
