package growth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
	"github.com/plinthkv/plinth/wrappers/buffer"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/prefix"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
)

// Works returns all of them.
func Works() []Work {
	return []Work{
		{"storage.Normalize, n ranges between n puts", normalize},
		{"write set without check_only, n checks on n ops", validate},
		{"transaction, n writes and n cleared ranges, each read", transaction},
		{"transaction, a range read after each of n writes", rangesOfTransaction},
		{"cache, n entries and a write set of n ranges", cached("")},
		{"cache above prefix, n entries and a write set of n ranges", cached("p/")},
		{"cache, n misses beside a write of n ranges", misses},
		{"cache, n entries and n writes of a range each", cachedEach},
		{"batch, n callers write one key", crowd(func(int) *storage.WriteSet {
			return &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}}
		})},
		{"batch, n callers with a condition and a range each", crowd(func(i int) *storage.WriteSet {
			if i%2 == 0 {
				return &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(key(i), key(i+2))}}
			}
			return &storage.WriteSet{Checks: []storage.Check{storage.Absent(key(i))}, Ops: []storage.Op{storage.Put(key(i), nil)}}
		})},
		{"buffer, n writes and n cleared ranges, each read", buffered},
		{"buffer, n conditions in one write set", conditions},
		{"buffer, pages over n items", pages},
		{"rate_limit, n new tenants after n others", tenants},
		{"memory, n checks of ranges over n items", rangeChecks},
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "%08d", i) }

// empty is a backend that holds nothing and takes everything.
type empty struct {
	storage.UnimplementedBackend
	caps  storage.Caps
	apply func() // if nil, at once
}

func (e empty) Info() storage.Info { return storage.Info{Name: "empty", Caps: e.caps} }

func (empty) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, storage.ErrNotFound
}

func (empty) Scan(context.Context, storage.Query) (storage.Page, error) { return storage.Page{}, nil }

func (e empty) Apply(context.Context, *storage.WriteSet) (uint64, error) {
	if e.apply != nil {
		e.apply()
	}
	return 1, nil
}

const everything = storage.CapAtomic | storage.CapCheckOnly | storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapOrdered

var ctx = context.Background()

// must panics on an error that cannot happen here.
func must(err error) {
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		panic(err)
	}
}

// ranges returns a write set that deletes n ranges of one key each.
func ranges(n int) *storage.WriteSet {
	w := &storage.WriteSet{}
	for i := range n {
		w.Ops = append(w.Ops, storage.DeleteRange(key(i), storage.After(key(i))))
	}
	return w
}

func normalize(n int) func() {
	w := &storage.WriteSet{}
	for i := range n {
		w.Ops = append(w.Ops, storage.Put(key(i), nil), storage.DeleteRange(key(2*i), key(2*i+1)))
	}
	info := empty{caps: everything}.Info()
	return func() {
		_, err := storage.Normalize(w, &info)
		must(err)
	}
}

func validate(n int) func() {
	w := &storage.WriteSet{}
	for i := range n {
		w.Ops = append(w.Ops, storage.Put(key(i), nil))
		w.Checks = append(w.Checks, storage.Absent(key(n-1-i)))
	}
	info := empty{caps: storage.CapAtomic}.Info()
	return func() { must(w.Validate(&info)) }
}

func transaction(n int) func() {
	s := storage.New(empty{caps: everything}, storage.Settings{})
	return func() {
		tx := s.Begin(storage.ReadCommitted)
		for i := range n {
			must(tx.Set(ctx, key(i), nil))
			_, err := tx.ClearRange(ctx, key(2*i), storage.After(key(2*i)))
			must(err)
			_, err = tx.Get(ctx, key(i+1))
			must(err)
		}
		_, err := tx.Commit(ctx)
		must(err)
	}
}

func rangesOfTransaction(n int) func() {
	s := storage.New(empty{caps: everything}, storage.Settings{})
	return func() {
		tx := s.Begin(storage.ReadCommitted)
		for i := range n {
			must(tx.Set(ctx, key(i), nil))
			for _, err := range tx.Range(ctx, key(i), key(i+1), storage.RangeOptions{}) {
				must(err)
			}
		}
	}
}

// cacheOf returns a cache that has n entries, of which it knows that they are absent.
func cacheOf(n int, under string, below empty) *cache.Backend {
	hub := wrappers.NewHub(below)
	var next storage.Backend = hub.Backend()
	settings := wrappers.Settings{Hub: hub}
	if under != "" {
		p, err := prefix.New(next, prefix.Config{Prefix: under}, settings)
		must(err)
		next, settings.Hub = p, p
	}
	c := cache.DefaultConfig()
	c.MaxBytes = 1 << 30
	b, err := cache.New(next, c, settings)
	must(err)
	for i := range n {
		_, err := b.Get(ctx, key(i))
		must(err)
	}
	return b
}

func cached(under string) func(int) func() {
	return func(n int) func() {
		b, w := cacheOf(n, under, empty{caps: everything}), ranges(n)
		return func() {
			_, err := b.Apply(ctx, w)
			must(err)
			must(b.Close(ctx))
		}
	}
}

func cachedEach(n int) func() {
	b, w := cacheOf(n, "", empty{caps: everything}), ranges(n)
	return func() {
		for i := range w.Ops {
			_, err := b.Apply(ctx, &storage.WriteSet{Ops: w.Ops[i : i+1]})
			must(err)
		}
		must(b.Close(ctx))
	}
}

func misses(n int) func() {
	begun, goOn := make(chan struct{}), make(chan struct{})
	b := cacheOf(0, "", empty{caps: everything, apply: func() { close(begun); <-goOn }})
	w := ranges(n)
	done := make(chan error)
	go func() { _, err := b.Apply(ctx, w); done <- err }()
	<-begun
	return func() {
		for i := range n {
			_, err := b.Get(ctx, key(n+i))
			must(err)
		}
		close(goOn)
		must(<-done)
		must(b.Close(ctx))
	}
}

// crowd is n callers who come while a write is under way.
func crowd(write func(int) *storage.WriteSet) func(int) func() {
	return func(n int) func() {
		var first sync.Once
		begun, goOn := make(chan struct{}), make(chan struct{})
		b, err := batch.New(empty{caps: everything, apply: func() {
			first.Do(func() { close(begun); <-goOn })
		}}, batch.DefaultConfig(), wrappers.Settings{})
		must(err)
		apply := func(w *storage.WriteSet) {
			_, err := b.Apply(ctx, w)
			must(err)
		}
		var callers sync.WaitGroup
		callers.Go(func() { apply(write(0)) })
		<-begun
		return func() {
			for i := range n {
				callers.Go(func() { apply(write(i)) })
			}
			close(goOn)
			callers.Wait()
			must(b.Close(ctx))
		}
	}
}

func buffered(n int) func() {
	s := storage.New(buffer.New(empty{caps: everything}, nil), storage.Settings{})
	return func() {
		for i := range n {
			must(s.Set(ctx, key(i), nil))
			_, err := s.ClearRange(ctx, key(2*i), storage.After(key(2*i)))
			must(err)
			_, err = s.Get(ctx, key(i+1))
			must(err)
		}
	}
}

func conditions(n int) func() {
	b := buffer.New(empty{caps: everything}, nil)
	w := &storage.WriteSet{}
	for i := range n {
		w.Checks = append(w.Checks, storage.Absent(key(i)))
	}
	return func() {
		_, err := b.Apply(ctx, w)
		must(err)
	}
}

func pages(n int) func() {
	s := storage.New(buffer.New(empty{caps: everything}, nil), storage.Settings{})
	for i := range n {
		must(s.Set(ctx, key(i), nil))
	}
	return func() {
		for _, err := range s.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 10}) {
			must(err)
		}
	}
}

func tenants(n int) func() {
	c := ratelimit.DefaultConfig()
	c.Rate, c.MaxTenants, c.Tenant = 1e9, n, tenant.Config{Until: "/"}
	now := time.Now()
	b, err := ratelimit.New(empty{caps: everything}, c, wrappers.Settings{Clock: func() time.Time { return now }})
	must(err)
	call := func(i int) {
		_, err := b.Get(ctx, fmt.Appendf(nil, "%08d/", i))
		must(err)
	}
	for i := range n {
		call(i)
	}
	return func() {
		for i := range n {
			now = now.Add(time.Second) // those before may be forgotten
			call(n + i)
		}
		must(b.Close(ctx))
	}
}

// rangeChecks returns a write set whose checks each cover half of all items.
func rangeChecks(n int) func() {
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	put := func(ops ...storage.Op) uint64 {
		version, err := b.Apply(ctx, &storage.WriteSet{Ops: ops})
		must(err)
		return version
	}
	var ops []storage.Op
	for i := range n {
		ops = append(ops, storage.Put(key(i), nil))
	}
	version := put(ops...)
	put(storage.Put(key(2*n), nil)) // for a check of the newest version looks at nothing
	w := &storage.WriteSet{}
	for i := range n {
		w.Checks = append(w.Checks, storage.Check{Kind: storage.CheckRange, Key: key(i / 2), End: key(i/2 + n/2), Version: version})
	}
	return func() {
		_, err := b.Apply(ctx, w)
		must(err)
	}
}
