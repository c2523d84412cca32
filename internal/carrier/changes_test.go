package carrier

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// asked is a plugin that answers nothing until something was written.
type asked struct {
	mu      sync.Mutex
	version uint64
	calls   int
	inside  int // calls that wait
	most    int // the most at once
	waits   bool
}

func (a *asked) ask(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	a.mu.Lock()
	a.calls++
	if q.Wait > 0 {
		a.inside++
		a.most = max(a.most, a.inside)
	}
	a.mu.Unlock()
	if q.Wait > 0 && a.waits {
		select {
		case <-time.After(q.Wait):
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.Wait > 0 {
		a.inside--
	}
	if err := storage.ContextError(ctx); err != nil {
		return storage.ChangePage{}, err
	}
	page := storage.ChangePage{Next: a.version}
	if a.version > q.After && !q.FromNow {
		page.Changes = []storage.Change{{Kind: storage.ChangeDelete, Key: []byte("k"), Version: a.version}}
	}
	return page, nil
}

func (a *asked) write(f *Followers) {
	a.mu.Lock()
	a.version++
	a.mu.Unlock()
	f.Changed()
}

// The host waits in the place of a plugin: how often the plugin is asked in a minute without a
// change, and how soon a write of this host, and one that the host does not hear of, are given.
func TestFollowersAskAgain(t *testing.T) {
	for name, c := range map[string]struct {
		slice      time.Duration
		waits      bool
		most       int           // calls in a minute
		own, other time.Duration // until it is given
	}{
		"a module, which cannot wait":               {0, false, 61, 0, usualPause + pauseOfEach},
		"a process that waits":                      {10 * time.Second, true, 6, 10 * time.Second, 10 * time.Second},
		"a process that does not wait all the same": {10 * time.Second, false, 67, 0, usualPause},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, f := &asked{version: 7, waits: c.waits}, &Followers{Slice: c.slice}
			page, err := f.Ask(t.Context(), storage.ChangeQuery{After: 7, Wait: time.Minute}, a.ask)
			if err != nil || len(page.Changes) > 0 || page.Next != 7 || a.calls > c.most {
				t.Errorf("%s: %+v, %v, after %d calls, want %d at most", name, page, err, a.calls, c.most)
			}
			for _, one := range []struct {
				f    *Followers
				soon time.Duration
			}{{f, c.own}, {&Followers{}, c.other}} {
				began := time.Now()
				time.AfterFunc(10500*time.Millisecond, func() { a.write(one.f) })
				page, err = f.Ask(t.Context(), storage.ChangeQuery{After: a.version, Wait: time.Minute}, a.ask)
				if took := time.Since(began) - 10500*time.Millisecond; err != nil || len(page.Changes) != 1 || took > one.soon {
					t.Errorf("%s: %+v, %v, %s after the write, want %s at most", name, page, err, took, one.soon)
				}
			}
		})
	}
}

// Few of many followers wait in the plugin at once; the others wait here, and all are woken.
func TestFollowersLeaveThePluginRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, f := &asked{version: 1, waits: true}, &Followers{Slice: 10 * time.Second}
		var all sync.WaitGroup
		var given atomic.Int64
		for range 1000 {
			all.Go(func() {
				page, err := f.Ask(t.Context(), storage.ChangeQuery{After: 1, Wait: time.Minute}, a.ask)
				if err == nil && len(page.Changes) == 1 {
					given.Add(1)
				}
			})
		}
		time.Sleep(5 * time.Second)
		a.write(f)
		all.Wait()
		if a.most > mostInside || given.Load() != 1000 {
			t.Errorf("%d wait in the plugin at once, and %d were given the change", a.most, given.Load())
		}
	})
}

// A call ends with its caller, with an error of the plugin, and at once if it asks for the
// version alone or does not wait.
func TestFollowersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, f := &asked{version: 1}, &Followers{}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)
		began := time.Now()
		if _, err := f.Ask(ctx, storage.ChangeQuery{After: 1, Wait: time.Hour}, a.ask); storage.CodeOf(err) != storage.Canceled || time.Since(began) > time.Second {
			t.Errorf("the caller left: %v, after %s", err, time.Since(began))
		}
		broken := errors.New("broken")
		if _, err := f.Ask(t.Context(), storage.ChangeQuery{After: 1, Wait: time.Hour}, func(context.Context, storage.ChangeQuery) (storage.ChangePage, error) {
			return storage.ChangePage{}, broken
		}); !errors.Is(err, broken) {
			t.Errorf("an error of the plugin is %v", err)
		}
		for _, q := range []storage.ChangeQuery{{After: 1}, {FromNow: true, Wait: time.Hour}} {
			began = time.Now()
			page, err := f.Ask(t.Context(), q, func(ctx context.Context, got storage.ChangeQuery) (storage.ChangePage, error) {
				if got.Wait != 0 {
					t.Errorf("it is asked to wait for %s", got.Wait)
				}
				return a.ask(ctx, got)
			})
			if err != nil || page.Next != 1 || time.Since(began) > 0 {
				t.Errorf("%+v: %+v, %v, after %s", q, page, err, time.Since(began))
			}
		}
	})
}
