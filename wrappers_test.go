package plinth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// stack is a pipeline over the memory backend, linked in.
func stack(stages string) storagetest.Factory {
	clock := storagetest.NewClock()
	return storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		return pipeline(forgetful{memory.New(memory.DefaultConfig(), env)}, stages, clock)
	}}
}

// forgetful says that it remembers fewer IDs than it does: the kit then writes
// fewer until it asks for the first again, which each pipeline would repeat.
type forgetful struct{ storage.Backend }

func (f forgetful) Info() storage.Info {
	info := f.Backend.Info()
	info.Limits.IDCount = 5000
	return info
}

// alone are the wrappers whose kit runs over memory linked in, each by itself; those of
// the built-in pipeline run over a module, see overModule.
var alone = map[string]string{
	"batch":                "[batch]",
	"small batches":        "[batch: { max_ops: 2, max_bytes: 64 }]",
	"rate_limit":           `[rate_limit: { rate: 1e9, tenant: { until: "/" }, max_tenants: 10 }]`,
	"retry":                "[retry: { base_delay: 1ms }]",
	"timeout":              "[timeout: { timeout: 1m }]",
	"circuit_breaker":      "[circuit_breaker]",
	"prefix":               `[prefix: { prefix: "app/" }]`,
	"prefix without a end": `[prefix: { prefix: "\xff\xff" }]`,
	"faults":               "[faults: { rules: [{ rate: 0.01, delay: 10us }] }]",
	"read_only":            "[read_only]",
}

// Every wrapper alone keeps the contract.
func TestWrapperConformance(t *testing.T) {
	for name, stages := range alone {
		t.Run(name, func(t *testing.T) {
			f := stack(stages)
			if name == "read_only" {
				f = pastReadOnly()
			}
			storagetest.Run(t, f) // not in parallel: it weighs the process
		})
	}
}

// unstacked are the wrappers that no random pipeline has, each with its reason.
var unstacked = map[string]string{"read_only": "it refuses the script's writes"}

// Every kind of wrapper has its kit, and a place in random pipelines.
func TestEveryWrapperIsTried(t *testing.T) {
	kinds := func(pipelines ...string) (kinds []string) {
		for _, p := range pipelines {
			kind, _, _ := strings.Cut(strings.Trim(p, "[]"), ":")
			kinds = append(kinds, kind)
		}
		return kinds
	}
	tried := append(kinds(slices.Collect(maps.Values(alone))...), kinds(slices.Collect(maps.Values(overModule))...)...)
	stacked := kinds(slices.Concat(stages...)...)
	for _, f := range plinth.Wrappers() {
		if !slices.Contains(tried, f.Kind()) {
			t.Errorf("%s has no row in alone or overModule: its kit does not run", f.Kind())
		}
		if _, excused := unstacked[f.Kind()]; slices.Contains(stacked, f.Kind()) == excused {
			t.Errorf("%s has a row in stages, or a reason in unstacked", f.Kind())
		}
	}
}

// pastReadOnly is a pipeline with read_only, and others who write below it: what reads
// are promised stays true above. That it refuses every write is in its own tests: there
// the kit would have nothing to read.
func pastReadOnly() storagetest.Factory {
	clock := storagetest.NewClock()
	return storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		b := forgetful{memory.New(memory.DefaultConfig(), env)}
		hub := wrappers.NewHub(b) // which all who write pass
		hub.KeepChanges(clock.Now)
		below := hub.Backend()
		above, err := pipeline(below, alone["read_only"], clock)
		return writtenBelow{storagetest.WithClose(above, func(ctx context.Context) error { return errors.Join(above.Close(ctx), b.Close(ctx)) }), below}, err
	}}
}

// writtenBelow is a backend whose writes go past its pipeline.
type writtenBelow struct {
	storage.Backend
	below storage.Backend
}

func (w writtenBelow) Apply(ctx context.Context, set *storage.WriteSet) (uint64, error) {
	return w.below.Apply(ctx, set)
}

// stages are those that a random pipeline is drawn from, with settings that pass
// everything on. Those of one kind stand for each other.
var stages = [][]string{
	{"instrument"},
	{"size_limits: { key: 4KiB, value: 1MiB }", "size_limits: { rows: 7 }"},
	{"rate_limit: { rate: 1e9 }", `rate_limit: { rate: 1e9, tenant: { until: "/" }, max_tenants: 4 }`},
	{"cache: { max_bytes: 64KiB }", "cache: { ttl: 1ms, negative_ttl: 0s }"},
	{"batch", "batch: { linger: 10us }", "batch: { max_ops: 2 }"},
	{"retry: { base_delay: 1ms }", "retry: { unknown: 0s }"},
	{"timeout: { timeout: 1m }"},
	{"circuit_breaker", "circuit_breaker: { failure_rate: 0.5 }"},
	{`prefix: { prefix: "app/" }`, `prefix: { prefix: "\xff" }`},
	{"faults: { rules: [{ rate: 0.01, delay: 1us }] }"},
}

// randomStages is a pipeline of 1 to 6 of the stages, one that a host might open.
func randomStages(r *mathrand.Rand, stages [][]string) string {
	var picked []string
	for n := range 1 + r.IntN(6) {
		kind := stages[r.IntN(len(stages))]
		stage := kind[r.IntN(len(kind))]
		name, settings, _ := strings.Cut(stage, ": ")
		settings = strings.TrimSuffix(strings.TrimPrefix(settings, "{ "), " }")
		if settings != "" {
			settings = ", " + settings
		}
		picked = append(picked, fmt.Sprintf("%s: { name: s%d%s }", name, n, settings))
	}
	return "[" + strings.Join(picked, ", ") + "]"
}

// Whatever legal pipeline stands over a backend, its results are those of the reference model.
func TestRandomStacks(t *testing.T) {
	stacks, steps := 240, 1000
	if testing.Short() {
		stacks = 60 // the race detector finds little in one caller
	}
	r := mathrand.New(mathrand.NewPCG(20, 26))
	legal := 0
	for i := range 100 * stacks {
		stages := randomStages(r, stages)
		f := stack(stages)
		b, err := f.Open(t.Context())
		if field := (*wrappers.FieldError)(nil); errors.Is(err, errRefused) || errors.As(err, &field) {
			continue // such as a limit above what a prefix leaves
		}
		if err != nil {
			t.Fatalf("%s: %v", stages, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := storagetest.Script(t.Context(), f, i, steps); err != nil {
			t.Errorf("%s:\n%v", stages, err)
		}
		if legal++; legal == stacks {
			return
		}
	}
	t.Fatalf("only %d legal stacks", legal)
}

// Whatever legal pipeline stands over a backend, concurrent callers see
// one order of all calls: also where calls fail, are said to have failed although
// they were applied, or are left by their callers.
func TestRandomStacksConcurrently(t *testing.T) {
	const stacks = 40
	rough := append(slices.Clone(stages), []string{
		"faults: { rules: [{ calls: [apply], rate: 0.04, error: unavailable, applied: true }, { rate: 0.05, error: unavailable }] }",
		"faults: { rules: [{ calls: [apply], rate: 0.04, error: outcome_unknown }, { rate: 0.05, delay: 20us, error: timeout }] }"})
	r := mathrand.New(mathrand.NewPCG(20, 27))
	legal := 0
	for i := range 100 * stacks {
		drawn := randomStages(r, rough)
		b, err := stack(drawn).Open(t.Context())
		if field := (*wrappers.FieldError)(nil); errors.Is(err, errRefused) || errors.As(err, &field) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", drawn, err)
		}
		err = beside(t.Context(), b, uint64(i))
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("%s: %v", drawn, err)
		}
		if errors.Is(err, storagetest.ErrHistoryInvalid) {
			continue // such as of an open circuit, which says nothing
		}
		if err != nil {
			t.Errorf("%s:\n%v", drawn, err)
		}
		if legal++; legal == stacks {
			return
		}
	}
	t.Fatalf("only %d legal stacks", legal)
}

// beside has clients make concurrent calls, and checks what they saw.
func beside(ctx context.Context, b storage.Backend, seed uint64) error {
	const clients, calls = 6, 60
	h, err := storagetest.NewHistory(ctx, b)
	for range 20 { // it may be made to fail on purpose
		if err == nil {
			break
		}
		h, err = storagetest.NewHistory(ctx, b)
	}
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range clients {
		all.Go(func() {
			r := mathrand.New(mathrand.NewPCG(seed, uint64(i)))
			client := h.Client()
			<-start
			for n := range calls {
				anyCall(ctx, r, client, fmt.Appendf(nil, "%d.%d", i, n))
			}
		})
	}
	close(start)
	all.Wait()
	return h.Check(clients*calls/3, time.Minute)
}

// anyCall makes a call of any kind on a few keys, which its caller may leave.
// What becomes of it is in the history.
func anyCall(ctx context.Context, r *mathrand.Rand, b storage.Backend, value []byte) {
	if r.IntN(16) == 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, time.Duration(r.IntN(100))*time.Microsecond)
		defer leave()
	}
	key := func() []byte { return []byte{byte('a' + r.IntN(5))} }
	switch r.IntN(8) {
	case 0, 1, 2:
		_, _ = b.Get(ctx, key())
	case 3:
		_, _ = b.Scan(ctx, storage.Query{Start: key(), Reverse: r.IntN(2) == 0, KeysOnly: r.IntN(3) == 0})
	case 4:
		_, _ = b.GetMany(ctx, [][]byte{key(), key()})
	default:
		w := &storage.WriteSet{}
		for range 1 + r.IntN(2) {
			switch r.IntN(6) {
			case 0:
				w.Ops = append(w.Ops, storage.Delete(key()))
			case 1:
				w.Ops = append(w.Ops, storage.DeleteRange(key(), key()))
			default:
				w.Ops = append(w.Ops, storage.Put(key(), value))
			}
		}
		switch r.IntN(6) {
		case 0:
			w.Checks = append(w.Checks, storage.Present(key()))
		case 1:
			w.Checks = append(w.Checks, storage.Absent(key()))
		case 2:
			w.ID[0], w.ID[1] = 1, byte(r.Uint32())
			copy(w.ID[2:], value) // its own, and no other's
		}
		_, _ = b.Apply(ctx, w)
	}
}
