package storage_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// stub is a backend of which a test writes the methods that it needs.
type stub struct {
	storage.UnimplementedBackend
	get     func(key []byte) (storage.Item, error)
	getMany func(keys [][]byte) ([]storage.Item, error)
	scan    func(q storage.Query) (storage.Page, error)
	apply   func(w *storage.WriteSet) (uint64, error)
	info    storage.Info
}

func (s *stub) Get(_ context.Context, key []byte) (storage.Item, error) { return s.get(key) }

func (s *stub) GetMany(_ context.Context, keys [][]byte) ([]storage.Item, error) {
	return s.getMany(keys)
}

func (s *stub) Scan(_ context.Context, q storage.Query) (storage.Page, error) { return s.scan(q) }

func (s *stub) Apply(_ context.Context, w *storage.WriteSet) (uint64, error) { return s.apply(w) }

func (s *stub) Info() storage.Info { return s.info }

// tb is what helpers need of a testing.T or a rapid.T.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// newModel is a store over the reference model, at a clock that stands still.
func newModel(tb) (*storage.Store, *storagetest.Clock) {
	clock := storagetest.NewClock()
	return storage.New(storagetest.NewModel(clock.Now, storagetest.ModelInfo()), storage.Settings{Clock: clock.Now}), clock
}

func fill(t testing.TB, s *storage.Store, keys ...string) {
	t.Helper()
	for _, k := range keys {
		must(t, s.Set(context.Background(), []byte(k), []byte(k)))
	}
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t tb, err error, want storage.Code) {
	t.Helper()
	if storage.CodeOf(err) != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

func wantValue(t testing.TB, kv storage.KV, key, want string) {
	t.Helper()
	if v, err := kv.Get(context.Background(), []byte(key)); err != nil || string(v) != want {
		t.Fatalf("%q is %q, %v, want %q", key, v, err, want)
	}
}

func keysOf(items []storage.Item) []string {
	var keys []string
	for _, it := range items {
		keys = append(keys, string(it.Key))
	}
	return keys
}

// stored returns GetMany of "a" and "b", of which there are many copies.
func stored(keys [][]byte) (items []storage.Item) {
	for _, k := range keys {
		if bytes.Equal(k, []byte("a")) || bytes.Equal(k, []byte("b")) {
			items = append(items, storage.Item{Key: k})
		}
	}
	return items
}

// A call beyond the limit is split, one whose answer is too large is halved,
// down to single keys, and any other error ends it.
func TestStoreGetMany(t *testing.T) {
	keys := make([][]byte, 25)
	for i := range keys {
		keys[i] = []byte{"abx"[i%3]}
	}
	want := keysOf(stored(keys))
	for _, c := range []struct {
		name    string
		limit   int // of keys in a call
		fits    int // items of an answer
		calls   []int
		outcome storage.Code
	}{
		{"unlimited", 0, 100, []int{25}, storage.OK},
		{"exactly", 25, 100, []int{25}, storage.OK},
		{"split", 10, 100, []int{10, 10, 5}, storage.OK},
		{"one by one", 1, 100, slices.Repeat([]int{1}, 25), storage.OK},
		{"halved", 0, 10, []int{25, 12, 13}, storage.OK},
		{"split and halved", 16, 8, []int{16, 8, 8, 9}, storage.OK},
		{"one is too much", 0, 0, []int{25, 12, 6, 3, 1}, storage.RangeLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls []int
			b := &stub{info: storage.Info{Limits: storage.Limits{GetKeys: c.limit}}, getMany: func(keys [][]byte) ([]storage.Item, error) {
				calls = append(calls, len(keys))
				items := stored(keys)
				if len(items) > c.fits {
					return nil, storage.LimitError(storage.RangeLimit, "answer", int64(c.fits), int64(len(items)))
				}
				return items, nil
			}}
			items, err := storage.New(b, storage.Settings{}).GetMany(t.Context(), keys)
			wantCode(t, err, c.outcome)
			if err == nil && !slices.Equal(keysOf(items), want) {
				t.Errorf("%q, want %q", keysOf(items), want)
			}
			if !slices.Equal(calls, c.calls) {
				t.Errorf("calls with %d keys, want %d", calls, c.calls)
			}
		})
	}
	down := &stub{getMany: func([][]byte) ([]storage.Item, error) { return nil, storage.ErrUnavailable }}
	if items, err := storage.New(down, storage.Settings{}).GetMany(t.Context(), keys); storage.CodeOf(err) != storage.Unavailable || items != nil {
		t.Errorf("%d items, %v", len(items), err)
	}
}

// Each verb is the write set that its comment says.
func TestStoreVerbs(t *testing.T) {
	clock := storagetest.NewClock()
	k, v, soon := []byte("k"), []byte("v"), clock.Now().Add(time.Minute)
	is := func(kind storage.CheckKind) []storage.Check { return []storage.Check{{Kind: kind, Key: k}} }
	for _, c := range []struct {
		name string
		do   func(s *storage.Store) error
		want storage.WriteSet
	}{
		{"Set", func(s *storage.Store) error { return s.Set(t.Context(), k, v) }, storage.WriteSet{Ops: []storage.Op{storage.Put(k, v)}}},
		{"SetWithTTL", func(s *storage.Store) error { return errOf(s.Put(t.Context(), k, v, storage.WithTTL(time.Minute))) }, storage.WriteSet{Ops: []storage.Op{storage.PutUntil(k, v, soon)}}},
		{"SetWithTTL 0", func(s *storage.Store) error { return errOf(s.Put(t.Context(), k, v, storage.WithTTL(0))) }, storage.WriteSet{Ops: []storage.Op{storage.PutUntil(k, v, clock.Now())}}},
		{"Delete", func(s *storage.Store) error { return s.Delete(t.Context(), k) }, storage.WriteSet{Ops: []storage.Op{storage.Delete(k)}}},
		{"CompareAndSet", func(s *storage.Store) error { return errOf(s.Put(t.Context(), k, v, storage.IfAbsent())) }, storage.WriteSet{Checks: is(storage.CheckAbsent), Ops: []storage.Op{storage.Put(k, v)}}},
		{"CompareAndSetWithTTL", func(s *storage.Store) error {
			return errOf(s.Put(t.Context(), k, v, storage.IfPresent(), storage.WithTTL(time.Minute)))
		}, storage.WriteSet{Checks: is(storage.CheckPresent), Ops: []storage.Op{storage.PutUntil(k, v, soon)}}},
		{"CompareAndDelete", func(s *storage.Store) error { return errOf(s.Remove(t.Context(), k, storage.IfVersion(7))) },
			storage.WriteSet{Checks: []storage.Check{storage.HasVersion(k, 7)}, Ops: []storage.Op{storage.Delete(k)}}},
		{"ClearRange", func(s *storage.Store) error { return errOf(s.ClearRange(t.Context(), k, nil)) }, storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(k, nil)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got storage.WriteSet
			b := &stub{apply: func(w *storage.WriteSet) (uint64, error) { got = *w; return 1, nil }}
			must(t, c.do(storage.New(b, storage.Settings{Clock: clock.Now})))
			if !sameWriteSet(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func sameWriteSet(a, b storage.WriteSet) bool {
	return a.ID == b.ID && slices.EqualFunc(a.Checks, b.Checks, func(a, b storage.Check) bool {
		return a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.End, b.End) && bytes.Equal(a.Value, b.Value) && a.Version == b.Version
	}) && slices.EqualFunc(a.Ops, b.Ops, func(a, b storage.Op) bool {
		return a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.End, b.End) && bytes.Equal(a.Value, b.Value) && a.ExpiresAt.Equal(b.ExpiresAt)
	})
}

// Touch loses to a writer twice and then keeps that writer's value.
func TestTouchKeepsWhatAnotherWrote(t *testing.T) {
	s, clock := newModel(t)
	fill(t, s, "k")
	losses := 0
	b := &stub{info: s.Info(), get: func(key []byte) (storage.Item, error) { return s.Backend().Get(t.Context(), key) },
		apply: func(w *storage.WriteSet) (uint64, error) {
			if losses++; losses < 3 {
				must(t, s.Set(t.Context(), []byte("k"), []byte{byte('0' + losses)}))
			}
			return s.Apply(t.Context(), w)
		}}
	touching := storage.New(b, storage.Settings{Clock: clock.Now, Retry: storage.Backoff{Base: 1, Cap: 1}})
	must(t, errOf(touching.Touch(t.Context(), []byte("k"), time.Minute)))
	wantValue(t, s, "k", "2")
	clock.Advance(time.Minute)
	_, err := s.Get(t.Context(), []byte("k"))
	wantCode(t, err, storage.NotFound)
}

func TestGetItemOwnsItsKey(t *testing.T) {
	s, _ := newModel(t)
	fill(t, s, "k")
	key := []byte("k")
	it, err := s.GetItem(t.Context(), key)
	must(t, err)
	if key[0] = 'x'; string(it.Key) != "k" || it.Version == 0 {
		t.Errorf("%+v", it)
	}
}

func TestUnimplementedBackend(t *testing.T) {
	var b storage.UnimplementedBackend
	_, get := b.Get(t.Context(), nil)
	_, many := b.GetMany(t.Context(), nil)
	_, scan := b.Scan(t.Context(), storage.Query{})
	_, apply := b.Apply(t.Context(), &storage.WriteSet{})
	_, health := b.Health(t.Context(), storage.Liveness)
	for name, err := range map[string]error{"get": get, "get_many": many, "scan": scan, "apply": apply, "health": health} {
		if e := storage.AsError(err); storage.CodeOf(err) != storage.Unsupported || e.Op != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, b.Close(t.Context()))
	if b.Info() != (storage.Info{}) {
		t.Errorf("%+v", b.Info())
	}
}

func TestNamesOfProbesAndStatuses(t *testing.T) {
	for name, s := range map[string]interface{ String() string }{"liveness": storage.Liveness, "readiness": storage.Readiness, "startup": storage.Startup,
		"healthy": storage.Healthy, "degraded": storage.Degraded, "unhealthy": storage.Unhealthy} {
		if s.String() != name {
			t.Errorf("%q, want %q", s, name)
		}
	}
	if storage.Probe(0).String() != "unknown" || storage.Status(9).String() != "unknown" {
		t.Error("what is not known has a name")
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
