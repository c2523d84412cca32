package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

var ctx = context.Background()

// none is the configuration of a backend that has none.
type none struct{}

func (none) Decode(any) error               { return nil }
func (none) JSON() (json.RawMessage, error) { return nil, nil }

// linked is a carrier of a backend that open makes.
func linked(t *testing.T, open sdk.Opener, c Config, log *slog.Logger) *native {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &native{carrier.Plugin{Name: "own", Linked: &carrier.Linked{Open: open},
		Settings: carrier.Settings{Log: log, Clock: time.Now, Tracer: noop.NewTracerProvider()}}, c}
}

func mustOpen(t *testing.T, n *native) *Backend {
	t.Helper()
	b, err := n.Open(ctx, "a", none{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b.(*Backend)
}

func TestConformance(t *testing.T) {
	clock := storagetest.NewClock()
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
		n := linked(t, func(ctx context.Context, e sdk.Env) (storage.Backend, error) {
			b, err := memory.Open(ctx, e)
			if err != nil {
				return nil, err
			}
			hub := wrappers.NewHub(b) // which has changes, and waits for them
			hub.KeepChanges(e.Now)
			return storagetest.WithClose(hub.Backend(), b.Close), nil
		}, Config{}, nil)
		n.plugin.Clock = clock.Now
		return n.Open(ctx, "a", none{})
	}})
}

// moody is a memory backend that panics when it is asked for or given the key "panic".
type moody struct {
	storage.Backend
	caps   storage.Caps // in addition to the memory's
	closed *atomic.Int64
}

func (m moody) Info() storage.Info {
	i := m.Backend.Info()
	i.Caps |= m.caps
	return i
}

func (m moody) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if string(key) == "panic" {
		panic("no\x1b[2Jmood")
	}
	return m.Backend.Get(ctx, key)
}

func (m moody) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if string(w.Ops[0].Key) == "panic" {
		_ = w.Ops[len(w.Ops)]
	}
	return m.Backend.Apply(ctx, w)
}

func (m moody) Close(ctx context.Context) error {
	m.closed.Add(1)
	return m.Backend.Close(ctx)
}

// moodyOpener opens moody backends, and counts how many.
func moodyOpener(caps storage.Caps) (open sdk.Opener, opened, closed *atomic.Int64) {
	opened, closed = new(atomic.Int64), new(atomic.Int64)
	return func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		opened.Add(1)
		b, err := memory.Open(ctx, env)
		return moody{b, caps, closed}, err
	}, opened, closed
}

var put = &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}}

// A panic is the error of its call, and the end of the instance: what it held is lost,
// which is reported at once, and it is opened again where that was asked for.
func TestPanic(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, c := range map[string]struct {
		caps  storage.Caps
		loss  carrier.Loss
		again bool
		told  int64
	}{
		"fail":    {0, carrier.Loss{}, false, 1},
		"restart": {0, carrier.Loss{OnLoss: "restart"}, true, 1},
		"durable": {storage.CapDurable, carrier.Loss{}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			open, opened, closed := moodyOpener(c.caps)
			var log strings.Builder
			b := mustOpen(t, linked(t, open, Config{Loss: c.loss}, slog.New(slog.NewTextHandler(&log, nil))))
			var told atomic.Int64
			b.WhenLost(func() { told.Add(1) })
			if _, err := b.Apply(ctx, put); err != nil {
				t.Fatal(err)
			}
			_, err := b.Get(ctx, []byte("panic"))
			if !errors.Is(err, storage.ErrUnavailable) || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "plugin own: panic: no") {
				t.Errorf("%q", err)
			}
			if told.Load() != c.told {
				t.Errorf("the loss was told %d times", told.Load())
			}
			if !strings.Contains(log.String(), "moody.Get") {
				t.Errorf("the log has no stack: %s", log.String())
			}
			_, err = b.Get(ctx, []byte("k"))
			h, herr := b.Health(ctx, storage.Readiness)
			if c.again {
				if !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("after the loss: %v", err)
				}
				if herr != nil || h.Status != storage.Healthy || h.Details["restarts"] != "1" {
					t.Errorf("%+v, %v", h, herr)
				}
				if opened.Load() != 2 || closed.Load() != 1 {
					t.Errorf("%d opened, %d closed", opened.Load(), closed.Load())
				}
				return
			}
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("after the loss: %v", err)
			}
			if herr != nil || h.Status != storage.Unhealthy || !strings.Contains(h.Reason, "panic: ") {
				t.Errorf("%+v, %v", h, herr)
			}
		})
	}
}

// The outcome of a write that panicked is unknown; concurrent calls are not affected.
func TestPanicOfAWrite(t *testing.T) {
	open, _, _ := moodyOpener(storage.CapDurable)
	b := mustOpen(t, linked(t, open, Config{}, nil))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				w := put
				if i == 0 {
					w = &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("panic"), nil)}}
				}
				_, err := b.Apply(ctx, w)
				switch {
				case i != 0 && err != nil && !errors.Is(err, storage.ErrUnavailable):
					t.Error(err)
				case i == 0 && !errors.Is(err, storage.ErrOutcomeUnknown) && !errors.Is(err, storage.ErrUnavailable):
					t.Errorf("a write that panicked: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// An instance whose lock is held by a call that has panicked does not close: nothing waits
// for it without end.
func TestPanicWithLock(t *testing.T) {
	stuck := make(chan struct{})
	open := func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		b, err := memory.Open(ctx, env)
		return storagetest.WithClose(moody{b, storage.CapDurable, new(atomic.Int64)}, func(context.Context) error { <-stuck; return nil }), err
	}
	n := linked(t, open, Config{}, nil)
	b, err := n.Open(ctx, "a", none{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(ctx, []byte("panic")); err == nil {
		t.Fatal("no panic")
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := b.Get(soon, []byte("k")); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("%v", err)
	}
	close(stuck)
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What a backend does wrong when it is opened is an error.
func TestBadOpeners(t *testing.T) {
	for name, c := range map[string]struct {
		open sdk.Opener
		want string
	}{
		"nothing": {func(context.Context, sdk.Env) (storage.Backend, error) { return nil, nil }, "plugin own: the opener returned no backend"},
		"a panic": {func(context.Context, sdk.Env) (storage.Backend, error) { panic(fmt.Errorf("why")) }, "plugin own: internal error: panic: why"},
		"an error": {func(context.Context, sdk.Env) (storage.Backend, error) {
			return nil, sdk.ConfigErrorf("dir", "is missing")
		}, "plugin own: is missing (configuration: dir)"},
	} {
		n := linked(t, c.open, Config{}, nil)
		if _, err := n.Open(ctx, "a", none{}); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
		n.plugin.Linked.Try = sdk.TryByOpening(c.open)
		if name == "nothing" {
			continue
		}
		if _, err := n.Try(ctx, none{}); err == nil || err.Error() != c.want {
			t.Errorf("%s, tried: %v", name, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	n := &native{carrier.Plugin{Name: "own", Linked: &carrier.Linked{Open: memory.Open},
		Settings: carrier.Settings{Log: slog.New(slog.DiscardHandler), Clock: time.Now}}, Config{}}
	opened, err := n.Open(ctx, "a", none{})
	if err != nil {
		b.Fatal(err)
	}
	bare, err := memory.Open(ctx, sdk.Env{})
	if err != nil {
		b.Fatal(err)
	}
	for name, to := range map[string]storage.Backend{"bare": bare, "carried": opened} {
		if _, err := to.Apply(ctx, put); err != nil {
			b.Fatal(err)
		}
		key := []byte("k")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := to.Get(ctx, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
