package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
)

// slow takes a second for each apply, and keeps what it was given.
type slow struct {
	storage.Backend
	mu     sync.Mutex
	sent   []string // the keys of each write set
	refuse func(keys string) error
}

func (s *slow) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	var keys []string
	for _, o := range w.Ops {
		key := string(o.Key)
		if o.Kind == storage.OpDeleteRange {
			key = fmt.Sprintf("[%s,%s)", o.Key, o.End)
		}
		keys = append(keys, key)
	}
	text := strings.Join(keys, "")
	if len(w.Checks) > 0 {
		text += "?"
	}
	s.mu.Lock()
	s.sent = append(s.sent, text)
	s.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return 0, storage.ContextError(ctx)
	}
	if s.refuse != nil {
		if err := s.refuse(text); err != nil {
			return 0, err
		}
	}
	return s.Backend.Apply(ctx, w)
}

func (s *slow) got(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.sent, want) {
		t.Errorf("sent %q, want %q", s.sent, want)
	}
}

// scene is a batch over a slow backend, with calls that run concurrently.
type scene struct {
	*slow
	t     *testing.T
	b     *batch.Backend
	store *storage.Store
	calls sync.WaitGroup
}

func newScene(t *testing.T, change func(*batch.Config)) *scene {
	c := batch.DefaultConfig()
	if change != nil {
		change(&c)
	}
	s := &scene{slow: &slow{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}, t: t}
	var err error
	if s.b, err = batch.New(s.slow, c, wrappers.Settings{Stage: "batch"}); err != nil {
		t.Fatal(err)
	}
	s.store = storage.New(s.b, storage.Settings{})
	return s
}

// set begins a set of each of the keys, in their order.
func (s *scene) set(keys ...string) {
	for _, k := range keys {
		s.begin(nil, func() error { return s.store.Set(s.t.Context(), []byte(k), []byte("v")) })
	}
}

// begin runs a call until it waits for something. A nil check demands success.
func (s *scene) begin(check func(error), call func() error) {
	s.calls.Go(func() {
		err := call()
		if check != nil {
			check(err)
		} else if err != nil {
			s.t.Errorf("%v", err)
		}
	})
	synctest.Wait()
}

func (s *scene) cas(key string) {
	s.begin(nil, func() error {
		return errOf(s.store.Put(s.t.Context(), []byte(key), nil, storage.IfPresent()))
	})
}

func TestMerging(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*batch.Config)
		calls  func(s *scene)
		want   []string
	}{
		{"a lone writer", nil, func(s *scene) { s.set("a") }, []string{"a"}},
		{"those that come meanwhile", nil, func(s *scene) { s.set("a", "b", "c", "d") }, []string{"a", "bcd"}},
		{"one key twice", nil, func(s *scene) { s.set("a", "b", "c", "b", "d", "b") }, []string{"a", "bcd", "b", "b"}},
		{"the key that is being written", nil, func(s *scene) { s.set("a", "a", "a") }, []string{"a", "a", "a"}},
		{"at most max_ops", func(c *batch.Config) { c.MaxOps = 2 }, func(s *scene) { s.set("a", "b", "c", "d") }, []string{"a", "bc", "d"}},
		{"at most max_bytes", func(c *batch.Config) { c.MaxBytes = 4 }, func(s *scene) { s.set("a", "b", "c", "d") }, []string{"a", "bc", "d"}},
		{"a range", nil, func(s *scene) {
			s.set("a", "b", "x")
			s.begin(nil, func() error { return errOf(s.store.ClearRange(s.t.Context(), []byte("b"), []byte("c"))) })
			s.set("y", "bb", "z")
		}, []string{"a", "bxyz", "[b,c)", "bb"}},
		{"ranges that do not meet", nil, func(s *scene) {
			s.set("a")
			s.begin(nil, func() error { return errOf(s.store.ClearRange(s.t.Context(), []byte("b"), []byte("c"))) })
			s.begin(nil, func() error { return errOf(s.store.ClearRange(s.t.Context(), []byte("c"), []byte("d"))) })
			s.set("d")
		}, []string{"a", "[b,c)[c,d)d"}},
		{"a condition on a key that waits keeps its place", nil, func(s *scene) {
			s.set("a", "b")
			s.cas("b")
			s.set("b", "c")
		}, []string{"a", "bc", "b?", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, c.change)
				c.calls(s)
				s.calls.Wait()
				s.got(t, c.want...)
			})
		})
	}
}

// What has a condition or an ID is not merged, and waits for nothing that it does
// not touch.
func TestConditionsGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		if _, err := s.slow.Backend.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("x"), nil)}}); err != nil {
			t.Fatal(err)
		}
		s.set("a", "b")
		s.cas("x")
		s.begin(nil, func() error {
			_, err := s.b.Apply(t.Context(), &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.Put([]byte("y"), nil)}})
			return err
		})
		s.got(t, "a", "x?", "y") // while a is under way
		s.calls.Wait()
		s.got(t, "a", "x?", "y", "b")
	})
}

// A merged write set that is refused is taken apart: each has its own outcome.
func TestTakenApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.refuse = func(keys string) error {
			if strings.Contains(keys, "c") {
				return storage.ErrNoSpace
			}
			return nil
		}
		s.set("a", "b")
		s.begin(func(err error) {
			if !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("the one that is refused: %v", err)
			}
		}, func() error { return s.store.Set(t.Context(), []byte("c"), nil) })
		s.set("d")
		s.calls.Wait()
		slices.Sort(s.sent)
		s.got(t, "a", "b", "bcd", "c", "d")
	})
}

// A linger waits for others, but not when enough are there or it closes.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *batch.Config) { c.Linger, c.MaxOps = 5*time.Second, 3 })
		start := time.Now()
		s.set("a", "b")
		s.calls.Wait()
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("two of three took %s", took)
		}
		start = time.Now()
		s.set("a", "b", "c")
		s.calls.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("three of three took %s", took)
		}
		s.set("d")
		start = time.Now()
		s.begin(nil, func() error { return s.b.Close(t.Context()) })
		s.calls.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("at its close it took %s", took)
		}
		s.got(t, "ab", "abc", "d")
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		config batch.Config
		want   string
	}{
		{batch.Config{MaxOps: 1, MaxBytes: 1}, "max_ops: must be at least 2 (got 1)"},
		{batch.Config{MaxOps: 2}, "max_bytes"},
		{batch.Config{MaxOps: 2, MaxBytes: 1, Linger: -1}, "linger"},
		{batch.Config{MaxOps: 2, MaxBytes: 1, Linger: time.Hour}, "linger"},
	} {
		if err := c.config.Validate(); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// A lone writer costs no allocation more.
func TestAllocations(t *testing.T) {
	ctx := t.Context()
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	b, err := batch.New(m, batch.DefaultConfig(), wrappers.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}}
	bare := testing.AllocsPerRun(1000, func() { m.Apply(ctx, w) })
	if n := testing.AllocsPerRun(1000, func() { b.Apply(ctx, w) }); n > bare {
		t.Errorf("%.0f allocations, %.0f without", n, bare)
	}
}

func BenchmarkApply(b *testing.B) {
	ctx := b.Context()
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	batched, err := batch.New(m, batch.DefaultConfig(), wrappers.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	for name, next := range map[string]storage.Backend{"bare": m, "batched": batched} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}}
			for b.Loop() {
				next.Apply(ctx, w)
			}
		})
	}
}

// What waits for a write that its caller applies itself holds up nothing else.
func TestOthersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.set("a", "b")
		s.cas("b")
		s.set("b")
		time.Sleep(2500 * time.Millisecond)
		s.got(t, "a", "b", "b?") // the last b waits for the condition
		s.set("z")
		s.got(t, "a", "b", "b?", "z")
		s.calls.Wait()
		s.got(t, "a", "b", "b?", "z", "b")
	})
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
