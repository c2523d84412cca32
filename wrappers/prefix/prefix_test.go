package prefix_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/prefix"
)

func keysOf(t *testing.T, s *storage.Store, o storage.RangeOptions) (keys []string) {
	t.Helper()
	for it, err := range s.Range(t.Context(), nil, nil, o) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(it.Key))
	}
	return keys
}

// Two namespaces and what lies around them see nothing of each other.
func TestNamespaces(t *testing.T) {
	for _, p := range []string{"app/", "\xff", "\xff\xff", "a\xff", "\x00"} {
		t.Run(p, func(t *testing.T) {
			ctx := t.Context()
			below := memory.New(memory.DefaultConfig(), sdk.Env{})
			raw := storage.New(below, storage.Settings{})
			around := []string{"", "\x00", "\x00\x00x", "a", "app", "app.", "app0", "a\xfe", "b", "\xfe\xff", "\xff", "\xff\xff", "\xff\xff\xff"}
			around = slices.DeleteFunc(around, func(k string) bool { return len(k) >= len(p) && k[:len(p)] == p })
			for _, k := range around {
				if err := raw.Set(ctx, []byte(k), []byte("theirs")); err != nil {
					t.Fatal(err)
				}
			}
			b, err := prefix.New(below, prefix.Config{Prefix: p}, wrappers.Settings{})
			if err != nil {
				t.Fatal(err)
			}
			s := storage.New(b, storage.Settings{})
			own := []string{"", "\x00", "a", "z", "\xff"}
			for _, k := range own {
				if err := s.Set(ctx, []byte(k), []byte("ours")); err != nil {
					t.Fatal(err)
				}
			}
			if got := keysOf(t, s, storage.RangeOptions{PageItems: 1}); !slices.Equal(got, own) {
				t.Errorf("%q", got)
			}
			slices.Reverse(own)
			if got := keysOf(t, s, storage.RangeOptions{PageItems: 1, Reverse: true}); !slices.Equal(got, own) {
				t.Errorf("backwards: %q", got)
			}
			if _, err := s.ClearRange(ctx, nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := keysOf(t, s, storage.RangeOptions{}); len(got) != 0 {
				t.Errorf("after a clear: %q", got)
			}
			if got := keysOf(t, raw, storage.RangeOptions{}); !slices.Equal(got, around) {
				t.Errorf("what is theirs: %q, want %q", got, around)
			}
		})
	}
}

// The limits above leave room for the prefix, and errors are in their terms.
func TestLimits(t *testing.T) {
	below := memory.New(memory.DefaultConfig(), sdk.Env{})
	b, err := prefix.New(below, prefix.Config{Prefix: "app/"}, wrappers.Settings{Stage: "prefix"})
	if err != nil {
		t.Fatal(err)
	}
	have, want := b.Info().Limits, below.Info().Limits
	if have.Key != want.Key-4 || have.Value != want.Value {
		t.Errorf("%+v over %+v", have, want)
	}
	_, err = b.Get(t.Context(), make([]byte, have.Key+1))
	var e *storage.Error
	if !errors.As(err, &e) || e.Limit.Max != int64(have.Key) || e.Limit.Actual != int64(have.Key)+1 || e.Layer != "prefix" {
		t.Errorf("%v", err)
	}
	if _, err := b.Get(t.Context(), make([]byte, have.Key)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a key of just the size: %v", err)
	}
	if _, err := prefix.New(below, prefix.Config{Prefix: string(make([]byte, want.Key))}, wrappers.Settings{}); err == nil {
		t.Error("a prefix that leaves no room for a key")
	}
}

// A cache above a prefix hears of writes that came past the prefix, and of those
// through another one that covers its keys.
func TestCacheAbove(t *testing.T) {
	ctx := t.Context()
	hub := wrappers.NewHub(memory.New(memory.DefaultConfig(), sdk.Env{}))
	settings := wrappers.Settings{Clock: time.Now, Hub: hub}
	under := func(p string) *prefix.Backend {
		b, err := prefix.New(hub.Backend(), prefix.Config{Prefix: p}, settings)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	app := under("app/")
	cached, err := cache.New(app, cache.DefaultConfig(), wrappers.Settings{Clock: time.Now, Hub: app})
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close(ctx)
	s := storage.New(cached, storage.Settings{})
	raw := storage.New(hub.Backend(), storage.Settings{})
	wide := storage.New(under("a"), storage.Settings{})
	key := []byte("k")
	for i, c := range []struct {
		name  string
		write func() error
		want  string
	}{
		{"through itself", func() error { return s.Set(ctx, key, []byte("1")) }, "1"},
		{"past it", func() error { return raw.Set(ctx, []byte("app/k"), []byte("2")) }, "2"},
		{"through a wider one", func() error { return wide.Set(ctx, []byte("pp/k"), []byte("3")) }, "3"},
		{"a range over it", func() error { return errOf(raw.ClearRange(ctx, []byte("a"), []byte("b"))) }, ""},
	} {
		if i > 0 { // fill the cache
			if _, err := s.Get(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.write(); err != nil {
			t.Fatal(err)
		}
		if v, _ := s.Get(ctx, key); string(v) != c.want {
			t.Errorf("%s: %q, want %q", c.name, v, c.want)
		}
	}
	if st := cached.Stats(); st.Hits != 3 {
		t.Errorf("%+v: the cache was not used", st)
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
