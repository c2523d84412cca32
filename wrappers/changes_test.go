package wrappers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// followed is the hub over a memory backend, whose changes it keeps.
func followed(t *testing.T, clock func() time.Time, around func(storage.Backend) storage.Backend) (*wrappers.Hub, *storage.Store) {
	t.Helper()
	var b storage.Backend = memory.New(memory.DefaultConfig(), sdk.Env{Now: clock})
	t.Cleanup(func() { b.Close(context.Background()) })
	if around != nil {
		b = around(b)
	}
	hub := wrappers.NewHub(b)
	hub.KeepChanges(clock)
	return hub, storage.New(hub.Backend(), storage.Settings{Clock: clock})
}

func now(t *testing.T, s *storage.Store) uint64 {
	t.Helper()
	page, err := s.Backend().Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	return page.Next
}

// told returns a page in short.
func told(p storage.ChangePage) string {
	var all []string
	for _, c := range p.Changes {
		text := fmt.Sprintf("%s %s", c.Kind, c.Key)
		if c.Kind == storage.ChangeDeleteRange {
			text += "-" + string(c.End)
		}
		if c.Kind == storage.ChangePut {
			text += "=" + string(c.Value)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// The later of two applies that were in flight together may end first: it is published after
// the other.
func TestChangesAreInOrder(t *testing.T) {
	below := &during{}
	hub, s := followed(t, time.Now, func(b storage.Backend) storage.Backend { below.Backend = b; return below })
	after := now(t, s)
	ask := func() string {
		page, err := hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: after})
		if err != nil {
			t.Fatal(err)
		}
		return told(page)
	}
	below.after = func() { // a is done, and its answer on its way
		below.after = nil
		s.Set(t.Context(), []byte("b"), []byte("2"))
		if got := ask(); got != "" {
			t.Errorf("published while a write before it may be in flight: %s", got)
		}
	}
	s.Set(t.Context(), []byte("a"), []byte("1"))
	if got := ask(); got != "put a=1, put b=2" {
		t.Error(got)
	}
}

// A write of unknown outcome is a gap, and so is a lost state.
func TestChangesAfterGaps(t *testing.T) {
	below := &during{}
	hub, s := followed(t, time.Now, func(b storage.Backend) storage.Backend { below.Backend = b; return below })
	for name, gap := range map[string]func(){
		"unknown outcome": func() {
			below.fails = storage.OutcomeUnknown
			s.Set(t.Context(), []byte("a"), nil)
			below.fails = nil
		},
		"told loss":    hub.StateLost,
		"noticed loss": func() { below.incarnation.Add(1); s.Get(t.Context(), []byte("a")) },
		"versions that go back": func() {
			below.version = 7
			s.Set(t.Context(), []byte("a"), nil)
			below.version = 0
		},
	} {
		after := now(t, s)
		waits := make(chan error)
		go func() {
			_, err := hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: after, Wait: time.Minute})
			waits <- err
		}()
		for hub.Feed().Followers.Load() == 0 {
			runtime.Gosched()
		}
		time.Sleep(5 * time.Millisecond) // it waits by now, or finds the same without it
		gap()
		if err := <-waits; !errors.Is(err, storage.ErrVersionGone) {
			t.Errorf("%s: %v", name, err)
		}
		now(t, s)
		if _, err := hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: after - 1}); !errors.Is(err, storage.ErrVersionGone) {
			t.Errorf("%s, after it: %v", name, err)
		}
	}
}

// A write that fails is no change, and no gap.
func TestChangesOfFailedWrites(t *testing.T) {
	hub, s := followed(t, time.Now, nil)
	after := now(t, s)
	s.Put(t.Context(), []byte("a"), []byte("1"))
	if _, err := s.Put(t.Context(), []byte("a"), []byte("2"), storage.IfAbsent()); err == nil {
		t.Fatal("no conflict")
	}
	page, err := hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: after})
	if err != nil || told(page) != "put a=1" {
		t.Errorf("%s, %v", told(page), err)
	}
}

// Items from before the first follower expire too, and each expiry has a version of
// its own.
func TestExpiriesAreTold(t *testing.T) {
	clock := storagetest.NewClock()
	hub, s := followed(t, clock.Now, nil)
	s.Put(t.Context(), []byte("before"), nil, storage.WithTTL(time.Minute))
	after := now(t, s)
	s.Put(t.Context(), []byte("with"), nil, storage.WithTTL(time.Minute))
	s.Put(t.Context(), []byte("again"), nil, storage.WithTTL(time.Minute))
	s.Put(t.Context(), []byte("gone"), nil, storage.WithTTL(time.Minute))
	hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: now(t, s), Wait: 10 * time.Millisecond}) // looks through what there is
	s.Set(t.Context(), []byte("again"), nil)
	s.Delete(t.Context(), []byte("gone"))
	clock.Advance(time.Minute)
	v := now(t, s)
	page, err := hub.Backend().Changes(t.Context(), storage.ChangeQuery{After: after})
	if err != nil {
		t.Fatal(err)
	}
	expired := map[string]uint64{}
	for _, c := range page.Changes {
		if c.Kind == storage.ChangeExpired {
			expired[string(c.Key)] = c.Version
		}
	}
	if len(expired) != 2 || expired["before"] == 0 || expired["with"] == 0 || page.Next < v {
		t.Errorf("expired %v, of %s", expired, told(page))
	}
	if _, err := s.Get(t.Context(), wrappers.ExpiryMark); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the mark is there: %v", err)
	}
	if err := s.Set(t.Context(), wrappers.ExpiryMark, nil); storage.CodeOf(err) != storage.InvalidArgument {
		t.Errorf("a caller may write the mark: %v", err)
	}
}

// Writers and followers at once, and whatever the order, each follower ends at the state of
// the store.
func TestFollowersReachTheState(t *testing.T) {
	hub, s := followed(t, time.Now, nil)
	after := now(t, s)
	const writers, writes, followers = 4, 300, 4
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range writes {
				key := []byte{'a' + byte(r.IntN(8))}
				switch r.IntN(5) {
				case 0:
					s.Delete(t.Context(), key)
				case 1:
					s.ClearRange(t.Context(), key, []byte("z"))
				default:
					s.Set(t.Context(), key, []byte(fmt.Sprint(w, i)))
				}
			}
		})
	}
	states := make([]map[string]string, followers)
	stop := make(chan struct{})
	var ends sync.WaitGroup
	for f := range followers {
		states[f] = map[string]string{}
		ends.Go(func() { follow(t, hub.Backend(), after, states[f], stop) })
	}
	all.Wait()
	close(stop)
	ends.Wait()
	want := map[string]string{}
	for it, err := range s.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		want[string(it.Key)] = string(it.Value)
	}
	for f, got := range states {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("follower %d came to %v, the store is %v", f, got, want)
		}
	}
}

// follow applies changes to a state until stop is closed and there are none.
func follow(t *testing.T, b storage.Backend, after uint64, state map[string]string, stop chan struct{}) {
	last := after
	for {
		stopped := false
		select {
		case <-stop:
			stopped = true
		default:
		}
		page, err := b.Changes(t.Context(), storage.ChangeQuery{After: after, Wait: time.Millisecond, Limit: 7})
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range page.Changes {
			if c.Version < last || c.Version <= after || c.Version > page.Next {
				t.Errorf("version %d between %d and %d", c.Version, last, page.Next)
			}
			last = c.Version
			for key := range state {
				if c.Kind == storage.ChangeDeleteRange && storage.InRange([]byte(key), c.Key, c.End) {
					delete(state, key)
				}
			}
			delete(state, string(c.Key))
			if c.Kind == storage.ChangePut {
				state[string(c.Key)] = string(c.Value)
			}
		}
		after = page.Next
		if stopped && len(page.Changes) == 0 {
			return
		}
	}
}
