package batch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
)

// call is what a client of a random mix does next.
type call struct {
	kind int
	keys []string
}

// The kinds of calls: all that changes something, and reads between.
const (
	callSet = iota
	callSetMany
	callDelete
	callClear
	callCompareAndSet
	callGet
	callScan
	calls
)

func anyMix() *rapid.Generator[[][]call] {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
	kind := rapid.OneOf(rapid.Just(callSet), rapid.IntRange(0, calls-1)) // plain writes are what is merged
	one := rapid.Custom(func(t *rapid.T) call {
		return call{kind.Draw(t, "kind"), rapid.SliceOfN(key, 2, 3).Draw(t, "keys")}
	})
	return rapid.SliceOfN(rapid.SliceOfN(one, 8, 16), 4, 6)
}

// do makes one call. Every value is written once.
func (c call) do(ctx context.Context, s *storage.Store, value string) {
	first := []byte(c.keys[0])
	switch c.kind {
	case callSet:
		s.Set(ctx, first, []byte(value))
	case callSetMany:
		w := &storage.WriteSet{}
		for i, k := range c.keys {
			w.Ops = append(w.Ops, storage.Put([]byte(k), fmt.Appendf(nil, "%s/%d", value, i)))
		}
		s.Apply(ctx, w)
	case callDelete:
		s.Delete(ctx, first)
	case callClear:
		s.ClearRange(ctx, first, []byte(c.keys[1]))
	case callCompareAndSet:
		if it, err := s.GetItem(ctx, first); err == nil {
			s.Put(ctx, first, []byte(value), storage.IfVersion(it.Version))
		} else {
			s.Put(ctx, first, []byte(value), storage.IfAbsent())
		}
	case callGet:
		s.Get(ctx, first)
	case callScan:
		for range s.Range(ctx, nil, nil, storage.RangeOptions{}) {
		}
	}
}

// patient takes a while for each apply, so that whatever else wants to write
// comes to wait, and refuses every seventh write set.
type patient struct {
	storage.Backend
	mu     sync.Mutex
	n      int
	merged int // write sets that hold values of more than one call
}

func (p *patient) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	time.Sleep(200 * time.Microsecond)
	p.mu.Lock()
	p.n++
	n := p.n
	if callsIn(w) > 1 {
		p.merged++
	}
	p.mu.Unlock()
	if n%7 == 0 {
		return 0, storage.ErrNoSpace
	}
	return p.Backend.Apply(ctx, w)
}

// callsIn counts the calls whose values w holds.
func callsIn(w *storage.WriteSet) int {
	from := map[string]bool{}
	for _, o := range w.Ops {
		if o.Kind == storage.OpPut {
			call, _, _ := strings.Cut(string(o.Value), "/")
			from[call] = true
		}
	}
	return len(from)
}

// Whatever clients do concurrently, there is an order of their calls, one
// after the other and without this stage, that has the same answers.
func TestEquivalentOrder(t *testing.T) {
	mix := anyMix()
	mixes, merged := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		ctx := context.Background()
		below := &patient{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
		b, err := batch.New(below, batch.DefaultConfig(), wrappers.Settings{})
		if err != nil {
			r.Fatal(err)
		}
		h, err := storagetest.NewHistory(ctx, b)
		if err != nil {
			r.Fatal(err)
		}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, script := range mix.Draw(r, "mix") {
			client := storage.New(h.Client(), storage.Settings{})
			wg.Go(func() {
				<-start
				for n, c := range script {
					c.do(ctx, client, fmt.Sprintf("%d.%d", i, n))
				}
			})
		}
		close(start)
		wg.Wait()
		if err := h.Check(0, time.Minute); err != nil && !errors.Is(err, storagetest.ErrHistoryInvalid) {
			r.Fatal(err)
		}
		mixes++
		merged += below.merged
	})
	if merged < 2*mixes { // some ten times as many are usual, on one core or many
		t.Errorf("%d merged write sets in %d mixes: the test says nothing", merged, mixes)
	}
}
