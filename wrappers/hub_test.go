package wrappers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// diary notes what a watcher hears.
type diary struct{ notes []string }

func (d *diary) Begin(w *storage.WriteSet) { d.notes = append(d.notes, "begin "+string(w.Ops[0].Key)) }

func (d *diary) End(w *storage.WriteSet, err error) {
	d.notes = append(d.notes, fmt.Sprintf("end %s %s", w.Ops[0].Key, storage.CodeOf(err).Name()))
}

func (d *diary) Others(w *storage.WriteSet) {
	d.notes = append(d.notes, fmt.Sprintf("others wrote %d", len(w.Ops)))
}

func (d *diary) Lost() { d.notes = append(d.notes, "lost") }

func (d *diary) reads(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(d.notes, ", "); got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	d.notes = nil
}

// during runs something in the middle of an apply.
type during struct {
	storage.Backend
	apply, after func()
	fails        error
	version      uint64 // that is returned; by default the backend's
	incarnation  atomic.Uint32
}

func (d *during) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if d.apply != nil {
		d.apply()
	}
	version, err := d.Backend.Apply(ctx, w)
	if d.after != nil {
		d.after()
	}
	if d.version != 0 {
		version = d.version
	}
	return version, errors.Join(err, d.fails)
}

func (d *during) Info() storage.Info {
	i := d.Backend.Info()
	i.Incarnation[0] ^= byte(d.incarnation.Load())
	return i
}

func TestHub(t *testing.T) {
	ctx := context.Background()
	below := &during{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
	hub := wrappers.NewHub(below)
	store := storage.New(hub.Backend(), storage.Settings{})
	first, second := &diary{}, &diary{}
	key := []byte("k")

	store.Set(ctx, key, nil) // no watcher listens
	stop := hub.Watch(first)
	store.Set(ctx, key, nil)
	first.reads(t, "begin k, end k ok")
	store.Put(ctx, key, nil, storage.IfAbsent())
	first.reads(t, "begin k, end k conflict")
	store.Get(ctx, key)
	first.reads(t, "")

	// One that comes in the middle of a write hears all of it.
	var stopSecond func()
	below.apply = func() { stopSecond = hub.Watch(second) }
	store.Delete(ctx, key)
	below.apply = nil
	first.reads(t, "begin k, end k ok")
	second.reads(t, "begin k, end k ok")

	// One write set twice at once is two writes.
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put(key, nil)}}
	below.apply = func() { below.apply = nil; hub.Backend().Apply(ctx, w) }
	hub.Backend().Apply(ctx, w)
	first.reads(t, "begin k, begin k, end k ok, end k ok")
	second.notes = nil

	// A lost state is reported once, by whatever call notices it.
	below.incarnation.Store(1)
	store.Get(ctx, key)
	store.Get(ctx, key)
	first.reads(t, "lost")
	second.reads(t, "lost")

	// A panic below is an end, of unknown outcome.
	below.apply = func() { panic("boom") }
	func() {
		defer func() { recover() }()
		store.Set(ctx, key, nil)
	}()
	below.apply = nil
	first.reads(t, "begin k, end k outcome_unknown")

	stop()
	stopSecond()
	store.Set(ctx, key, nil)
	first.reads(t, "")

	// The hub never closes the backend: the host owns it.
	if err := hub.Backend().Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := store.Set(ctx, key, nil); err != nil {
		t.Errorf("the hub has closed its backend: %v", err)
	}
}
