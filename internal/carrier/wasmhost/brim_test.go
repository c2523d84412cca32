package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// brimBytes is the budget of the store that is filled to the brim.
const brimBytes = 128 << 20

// soak is how long the test goes on: seconds, or what make soak says.
func soak(t *testing.T) time.Duration {
	d, err := time.ParseDuration(os.Getenv("PLINTH_SOAK"))
	if err != nil {
		return 2 * time.Second
	}
	return d
}

// A store that is full to the brim and asked for everything at once lives, keeps its
// state, and stays within the memory that is stated.
func TestFullToTheBrim(t *testing.T) {
	t.Run("wasm", func(t *testing.T) {
		m := load(t, newRuntime(t), module.Wasm, wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: true, Memory: brimBytes + memory.Beside})
		b := openModule(t, m, fmt.Sprintf(`{"max_bytes": %d}`, brimBytes))
		brim(t, b)
		if size := b.MemorySize(); size > brimBytes+memory.Beside {
			t.Errorf("%d bytes of linear memory", size)
		} else {
			t.Logf("linear memory: %d MiB, max_bytes: %d MiB", size>>20, brimBytes>>20)
		}
	})
	t.Run("native", func(t *testing.T) {
		before := heap()
		b := memory.New(memory.Config{MaxBytes: brimBytes}, sdk.Env{})
		brim(t, b)
		if held := heap() - before; held > brimBytes+memory.Beside/2 {
			t.Errorf("%d bytes of heap", held)
		} else {
			t.Logf("heap: %d MiB, max_bytes: %d MiB", held>>20, brimBytes>>20)
		}
		runtime.KeepAlive(b)
	})
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// acceptable are the errors that such a store may answer with.
func acceptable(err error) bool {
	return err == nil || errors.Is(err, storage.ErrNoSpace) || errors.Is(err, storage.ErrRangeLimit) || errors.Is(err, storage.ErrSizeLimit) || errors.Is(err, storage.ErrConflict)
}

func brim(t *testing.T, b storage.Backend) {
	ctx := context.Background()
	small := func(i int) []byte { return fmt.Appendf(nil, "s%07d", i) }
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100) }
	for i := 0; i < 100_000; i += 1000 {
		w := &storage.WriteSet{}
		for j := i; j < i+1000; j++ {
			w.Ops = append(w.Ops, storage.Put(small(j), value(j)))
		}
		if _, err := b.Apply(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	large := func(i int) []byte { return fmt.Appendf(nil, "large%03d", i) }
	const fourMiB = 4 << 20
	n := 0
	for ; ; n++ {
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(large(n), bytes.Repeat([]byte{byte(n)}, fourMiB))}}); err != nil {
			if !errors.Is(err, storage.ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
	}
	for i := 0; ; i++ { // what is left, down to the last kilobyte
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "fill%d", i), make([]byte, 1000))}}); err != nil {
			if !errors.Is(err, storage.ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
	}

	over, cancel := context.WithTimeout(ctx, soak(t))
	defer cancel()
	var all sync.WaitGroup
	ask := func(what string, callers int, f func(r *rand.Rand) error) {
		for c := range callers {
			all.Go(func() {
				for r := rand.New(rand.NewPCG(uint64(c), 7)); over.Err() == nil; {
					if err := f(r); !acceptable(err) {
						t.Errorf("%s: %v", what, err)
						return
					}
				}
			})
		}
	}
	ask("the same large key a hundred times", 2, func(r *rand.Rand) error {
		keys := make([][]byte, 100)
		for i := range keys {
			keys[i] = large(n / 2)
		}
		items, err := b.GetMany(ctx, keys)
		if err == nil && len(items) != 0 && len(items) != 100 {
			return fmt.Errorf("%d items", len(items))
		}
		return err
	})
	ask("scans", 200, func(r *rand.Rand) error {
		q := storage.Query{Start: small(r.IntN(100_000)), Reverse: r.IntN(4) == 0, KeysOnly: r.IntN(4) == 0, MaxBytes: r.IntN(8 << 20)}
		page, err := b.Scan(ctx, q)
		if err == nil && page.Next != nil && !q.Reverse && r.IntN(4) == 0 {
			q.AtVersion, q.Start = page.Version, page.Next
			_, err = b.Scan(ctx, q)
		}
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
		return err
	})
	ask("a scan with bounds of 60 MB", 1, func(r *rand.Rand) error {
		_, err := b.Scan(ctx, storage.Query{Start: make([]byte, 60e6), End: bytes.Repeat([]byte{0xFF}, 60e6), Limit: 10})
		time.Sleep(50 * time.Millisecond)
		return err
	})
	ask("large values in turn", 1, func(r *rand.Rand) error {
		i := r.IntN(n)
		it, err := b.Get(ctx, large(i))
		if err == nil && (len(it.Value) == 0 || it.Value[0] != byte(i) || it.Value[len(it.Value)-1] != byte(i)) {
			return fmt.Errorf("the value of %d is another one", i)
		}
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		if err == nil {
			_, err = b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(large(i), bytes.Repeat([]byte{byte(i)}, 1+r.IntN(8<<20)))}})
		}
		return err
	})
	ask("write sets of many sizes", 2, func(r *rand.Rand) error {
		w := &storage.WriteSet{}
		for i := range w.ID {
			w.ID[i] = byte(r.Uint32())
		}
		for range 1 + r.IntN(2000) {
			w.Ops = append(w.Ops, storage.PutUntil(fmt.Appendf(nil, "t%d", r.IntN(50_000)), make([]byte, r.IntN(600)), time.Now().Add(time.Duration(r.IntN(2000))*time.Millisecond)))
		}
		if r.IntN(3) == 0 {
			w.Ops = append(w.Ops, storage.DeleteRange([]byte("t"), fmt.Appendf(nil, "t%d", r.IntN(50_000))))
		}
		_, err := b.Apply(ctx, w)
		return err
	})
	ask("clears", 1, func(r *rand.Rand) error {
		time.Sleep(300 * time.Millisecond)
		_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange([]byte("fill"), []byte("film"))}})
		return err
	})
	counter := storage.New(b, storage.Settings{})
	var counted sync.Map
	for c := range 4 {
		key := fmt.Appendf(nil, "!counter%d", c)
		done := 0
		all.Go(func() {
			for over.Err() == nil {
				err := counter.Update(ctx, func(tx *storage.Txn) error {
					n, err := storage.GetJSON[int](ctx, tx, key)
					if err != nil && !errors.Is(err, storage.ErrNotFound) {
						return err
					}
					return storage.SetJSON(ctx, tx, key, n+1)
				})
				switch {
				case err == nil:
					done++
				case !acceptable(err) && !errors.Is(err, storage.ErrRetriesExhausted):
					t.Errorf("transactions: %v", err)
					return
				}
			}
			counted.Store(string(key), done)
		})
	}
	all.Wait()

	for i := 0; i < 100_000; i += 500 { // these were not written to
		var keys [][]byte
		for j := i; j < i+500; j++ {
			keys = append(keys, small(j))
		}
		items, err := b.GetMany(ctx, keys)
		if err != nil || len(items) != 500 {
			t.Fatalf("%d of 500 from %d: %v", len(items), i, err)
		}
		for j, it := range items {
			if !bytes.Equal(it.Value, value(i+j)) {
				t.Fatalf("the value of %d is another one", i+j)
			}
		}
	}
	counted.Range(func(key, done any) bool {
		n, err := storage.GetJSON[int](ctx, counter, []byte(key.(string)))
		if err != nil && !(done == 0 && errors.Is(err, storage.ErrNotFound)) || n != done {
			t.Errorf("%s is %d, counted %d: %v", key, n, done, err)
		}
		return true
	})
}
