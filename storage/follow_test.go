package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

func followedModel(t *testing.T) (*storage.Store, *storagetest.Faults) {
	t.Helper()
	clock := storagetest.NewClock()
	b := storagetest.NewFaults(storagetest.NewModel(clock.Now, storagetest.ModelInfo()))
	return storage.New(b, storage.Settings{Clock: clock.Now}), b
}

// state applies changes.
type state map[string]string

func (s state) do(c storage.Change) {
	switch c.Kind {
	case storage.ChangePut:
		s[string(c.Key)] = string(c.Value)
	case storage.ChangeDeleteRange:
		for key := range s {
			if storage.InRange([]byte(key), c.Key, c.End) {
				delete(s, key)
			}
		}
	default:
		delete(s, string(c.Key))
	}
}

func items(t *testing.T, s *storage.Store) state {
	t.Helper()
	all := state{}
	for it, err := range s.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all[string(it.Key)] = string(it.Value)
	}
	return all
}

// A follower that begins with the state comes to the state of the store, whatever is written
// between its pages, and sees nothing twice. Killed after the scan, another one goes on.
func TestFollowFromScan(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, _ := followedModel(t)
		write := func() {
			key := []byte(fmt.Sprintf("k%02d", r.IntN(16)))
			switch r.IntN(4) {
			case 0:
				s.Delete(t.Context(), key)
			case 1:
				s.ClearRange(t.Context(), key, append(key, 'x'))
			default:
				s.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte(fmt.Sprint(r.Uint32()))), storage.Put([]byte("z"), []byte(fmt.Sprint(r.Uint32())))}})
			}
		}
		for range 60 {
			write()
		}
		f := s.Changes(nil, nil, storage.ChangesOptions{FromScan: true, PageChanges: 4, Wait: time.Nanosecond})
		got, killed := state{}, false
		given := map[string]uint64{}
		for rounds := 0; ; rounds++ {
			page, err := f.Page(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Changes {
				if c.Kind == storage.ChangePut && given[string(c.Key)] >= c.Version {
					t.Errorf("seed %d: version %d of %s is given again", seed, c.Version, c.Key)
				}
				given[string(c.Key)] = c.Version
				got.do(c)
			}
			v, scanned := f.Version()
			if rounds < 7 {
				for range r.IntN(10) {
					write()
				}
			} else if scanned && len(page.Changes) == 0 {
				break
			}
			if scanned && !killed { // as it were
				killed = true
				f = s.Changes(nil, nil, storage.ChangesOptions{After: v, PageChanges: 3, Wait: time.Nanosecond})
			}
		}
		if want := items(t, s); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: it came to %v, the store is %v", seed, got, want)
		}
	}
}

// All goes on after a loop that was left, and after an error; Version is that of whole write
// sets.
func TestFollowAll(t *testing.T) {
	s, faults := followedModel(t)
	f := s.Changes(nil, nil, storage.ChangesOptions{FromNow: true, Wait: time.Nanosecond})
	if _, ok := f.Version(); ok {
		t.Error("it has a version before it has begun")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := f.Page(ctx); err != nil {
		t.Fatal(err)
	}
	first, _ := f.Version()
	two, _ := s.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("a"), nil), storage.Put([]byte("b"), nil)}})
	three, _ := s.Put(ctx, []byte("c"), nil)
	want := []struct {
		key     string
		version uint64
	}{{"a", first}, {"b", two}, {"c", three}}
	for _, w := range want {
		for c, err := range f.All(ctx) {
			if v, ok := f.Version(); err != nil || string(c.Key) != w.key || v != w.version || !ok {
				t.Errorf("%s at %d, %t, %v; want %s at %d", c.Key, v, ok, err, w.key, w.version)
			}
			break
		}
	}
	faults.Set(storagetest.Fault{Err: storage.ErrUnavailable, Times: 1})
	for _, err := range f.All(ctx) {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
	}
	s.Set(ctx, []byte("d"), nil)
	for c, err := range f.All(ctx) {
		if err != nil || string(c.Key) != "d" {
			t.Errorf("%s, %v", c.Key, err)
		}
		break
	}
	cancel()
	for _, err := range s.Changes(nil, nil, storage.ChangesOptions{After: three}).All(ctx) {
		if err != nil && !errors.Is(err, storage.ErrCanceled) {
			t.Error(err)
		}
	}
}

// What a follower cannot follow is an error of its own.
func TestFollowRefuses(t *testing.T) {
	without := storagetest.ModelInfo()
	without.Caps &^= storage.CapChanges
	s := storage.New(storagetest.NewModel(time.Now, without), storage.Settings{})
	if _, err := s.Changes(nil, nil, storage.ChangesOptions{}).Page(t.Context()); !errors.Is(err, storage.ErrUnsupported) {
		t.Errorf("without changes: %v", err)
	}
	s, _ = followedModel(t)
	for name, after := range map[string]uint64{"zero": 0, "of the future": 1 << 63} {
		if _, err := s.Changes(nil, nil, storage.ChangesOptions{After: after}).Page(t.Context()); !errors.Is(err, storage.ErrVersionGone) {
			t.Errorf("a version %s: %v", name, err)
		}
	}
	if _, err := s.Changes(nil, nil, storage.ChangesOptions{FromNow: true, Wait: -1}).Page(t.Context()); !errors.Is(err, storage.ErrInvalidArgument) {
		t.Errorf("a negative wait: %v", err)
	}
}
