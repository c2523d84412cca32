package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

var withPebble = plinth.WithBackend("pebble", pebble.Open, plinth.TriedBy(pebble.Info))

// reload puts yaml in force.
func reload(t *testing.T, h *plinth.Host, yaml string) (host.Changes, error) {
	t.Helper()
	cfg, err := plinth.Load(h.Config().File(), plinth.WithContent([]byte(yaml)), withPebble)
	if cfg == nil {
		return host.Changes{}, err
	}
	return h.Reload(ctx, cfg)
}

func mustReload(t *testing.T, h *plinth.Host, yaml string) host.Changes {
	t.Helper()
	changes, err := reload(t, h, yaml)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func has(t *testing.T, s *plinth.Store, key, want string) {
	t.Helper()
	if v, err := s.Get(ctx, []byte(key)); err != nil || string(v) != want {
		t.Errorf("%s of %s is %q, %v, want %q", key, s.Name(), v, err, want)
	}
}

func set(t *testing.T, s *plinth.Store, key, value string) {
	t.Helper()
	if err := s.Set(ctx, []byte(key), []byte(value)); err != nil {
		t.Error(err)
	}
}

// What did not change stays, with its state; what did is there at once, for stores that
// were handed out before too.
func TestReloadKeepsState(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	h, err := open(t, "stores: { a: { backend: { plugin: memory }, pipeline: [instrument, size_limits: { value: 3 }, cache] }, b: { backend: { store: a } } }", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	a, b := storeOf(t, h, "a"), storeOf(t, h, "b")
	set(t, a, "k", "1")
	changes := mustReload(t, h, "stores: { a: { backend: { plugin: memory }, pipeline: [instrument, size_limits: { value: 30 }, cache] }, b: { backend: { store: a } }, c: { backend: { plugin: memory } } }")
	if got := changes.String(); got != "rebuild store a, start store c" {
		t.Errorf("changes: %s", got)
	}
	if got := fmt.Sprint(changes.Stores[0].Stages); got != "[{instrument rebuild} {size_limits start} {cache keep}]" {
		t.Errorf("stages: %s", got)
	}
	has(t, a, "k", "1")
	set(t, a, "k", "more than three")
	has(t, b, "k", "more than three")
	set(t, storeOf(t, h, "c"), "k", "1")
	if changes := mustReload(t, h, "stores: { a: { backend: { plugin: memory }, pipeline: [instrument, size_limits: { value: 30 }, cache] }, b: { backend: { store: a } }, c: { backend: { plugin: memory } } }"); !changes.None() {
		t.Errorf("the same again: %s", changes)
	}
	mustReload(t, h, "stores: { a: { backend: { plugin: memory } }, c: { backend: { plugin: memory, on_swap: discard } } }")
	if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "no longer in the configuration") {
		t.Errorf("a store that is gone: %v", err)
	}
	if _, err := h.Store("b"); err == nil {
		t.Error("it is still there")
	}
	mustReload(t, h, "stores: { a: { backend: { plugin: memory } }, b: { backend: { store: a } } }")
	has(t, b, "k", "more than three") // it is there again
	if n, _ := h.Generation(); n != 5 {
		t.Errorf("generation %d", n)
	}
}

// Items that are in memory alone are thrown away only where the configuration says so.
func TestReloadOfABackendInMemory(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	one := "stores: { a: { backend: { plugin: memory }, pipeline: [cache] } }"
	h, err := open(t, one, quiet, withPebble)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	a := storeOf(t, h, "a")
	set(t, a, "k", "1")
	if _, err := a.Put(ctx, []byte("e"), []byte("2"), storage.WithTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for yaml, want := range map[string]string{
		"stores: { a: { backend: { plugin: memory, config: { max_bytes: 1MiB } } } }":                                             `would lose its items, which plugin "memory" keeps only in memory`,
		"stores: { b: { backend: { plugin: memory } } }":                                                                          `"a" would be removed with its items`,
		"stores: { a: { backend: { store: b } }, b: { backend: { plugin: memory } } }":                                            `"a" would be removed with its items`,
		"stores: { a: { backend: { plugin: memory, on_swap: transfer, config: { max_bytes: 1MiB } } } }\nreload: { transfer: 3 }": "reload.transfer bytes",
	} {
		if _, err := reload(t, h, yaml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", yaml, err, want)
		}
		has(t, a, "k", "1")
		set(t, a, "x", "y")
	}
	changes := mustReload(t, h, "stores: { a: { backend: { plugin: memory, on_swap: transfer, config: { max_bytes: 1MiB } }, pipeline: [cache] } }")
	if got := changes.String(); got != "replace store a (items transferred)" {
		t.Errorf("changes: %s", got)
	}
	has(t, a, "k", "1")
	it, err := a.GetItem(ctx, []byte("e"))
	if left := time.Until(it.ExpiresAt); err != nil || left < 50*time.Minute || left > time.Hour {
		t.Errorf("its expiry: %+v, %v", it, err)
	}
	mustReload(t, h, fmt.Sprintf("plugins: { pebble: { grants: { dir: %s } } }\nstores: { a: { backend: { plugin: pebble, on_swap: transfer }, pipeline: [cache] } }", dir))
	has(t, a, "k", "1")
	set(t, a, "k", "2")
	// Another setting of the same folder: closed before it is opened.
	changes = mustReload(t, h, fmt.Sprintf("plugins: { pebble: { grants: { dir: %s } } }\nstores: { a: { backend: { plugin: pebble, config: { cache: 1MiB } } } }", dir))
	if got := changes.String(); got != "replace store a (items left)" {
		t.Errorf("changes: %s", got)
	}
	has(t, a, "k", "2")
	mustReload(t, h, one)
	if _, err := a.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("from a durable one to another without a transfer: %v", err)
	}
}

// A durable backend that cannot be opened with its new settings goes on with the old ones.
func TestReloadGoesBack(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	var fails atomic.Bool
	failing := plinth.WithBackend("pebble", func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		if fails.Load() {
			return nil, errors.New("it cannot be opened just now")
		}
		return pebble.Open(ctx, env)
	}, plinth.TriedBy(pebble.Info))
	yaml := func(cache string) string {
		return fmt.Sprintf("plugins: { pebble: { grants: { dir: %s } } }\nstores: { a: { backend: { plugin: pebble, config: { cache: %s } }, pipeline: [cache] }, b: { backend: { store: a } } }", dir, cache)
	}
	h, err := open(t, yaml("1MiB"), quiet, failing)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	a, b := storeOf(t, h, "a"), storeOf(t, h, "b")
	set(t, a, "k", "1")
	// In the way is a file, where its folder would be.
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reload(t, h, fmt.Sprintf("plugins: { pebble: { grants: { dir: %s/file } } }\nstores: { a: { backend: { plugin: pebble } } }", dir)); err == nil {
		t.Error("a folder that is a file is none")
	}
	has(t, a, "k", "1")
	set(t, b, "k", "2")
	has(t, a, "k", "2")
	fails.Store(true)
	if _, err := reload(t, h, yaml("2MiB")); err == nil || !strings.Contains(err.Error(), "just now") || !strings.Contains(err.Error(), `the store "a" is unavailable`) {
		t.Errorf("neither can be opened: %v", err)
	}
	if err := a.Set(ctx, []byte("k"), nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("without a backend: %v", err)
	}
	fails.Store(false)
	for end := time.Now().Add(30 * time.Second); a.Set(ctx, []byte("k"), []byte("3")) != nil || b.Set(ctx, []byte("l"), nil) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not opened again")
		}
	}
	has(t, b, "k", "3")
	mustReload(t, h, yaml("2MiB"))
	has(t, a, "k", "3")
}

// A write that began in a pipeline which was replaced before is waited for, too: it moves with
// the other items.
func TestReloadWaitsForOldPipelines(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for how, between := range map[string]string{
		"its pipeline was replaced": "stores: { a: { backend: { plugin: own }, pipeline: [instrument] } }",
		"a swap was given up":       "reload: { hold: 50ms }\nstores: { a: { backend: { plugin: memory, on_swap: transfer } } }",
	} {
		t.Run(how, func(t *testing.T) {
			h, a, w := openWatched(t, "stores: { a: { backend: { plugin: own } } }")
			hold := make(chan struct{})
			w.holds.Store(&hold)
			wrote := make(chan error, 1)
			go func() { wrote <- a.Set(ctx, []byte("k"), []byte("v")) }()
			for w.waits.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			if _, err := reloadWith(t, h, between, plinth.WithBackend("own", memory.Open)); (err != nil) != strings.Contains(between, "hold") {
				t.Fatal(err)
			}
			go func() {
				time.Sleep(100 * time.Millisecond)
				close(hold)
			}()
			reloadOwn(t, h, "stores: { a: { backend: { plugin: memory, on_swap: transfer } } }")
			if err := <-wrote; err != nil {
				t.Error(err)
			}
			has(t, a, "k", "v")
		})
	}
}

// Calls that go on while everything changes neither fail nor see anything else than what
// was written.
func TestReloadUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	backends := []string{
		"{ plugin: memory, on_swap: transfer, config: { max_bytes: 64MiB } }", "{ plugin: memory, on_swap: transfer }",
		"{ plugin: memory, on_swap: transfer }", "{ plugin: pebble, on_swap: transfer, config: { sync: never } }",
		"{ plugin: pebble, on_swap: transfer, config: { sync: never, cache: 2MiB } }",
	}
	pipelines := []string{"[cache]", "[instrument, cache, batch]", "[rate_limit: { rate: 1000000 }, cache]", "[]", "[instrument, cache, batch, retry]", "[instrument, cache, batch]", "[cache, retry]"}
	yaml := func(n int) string {
		if err := os.MkdirAll(fmt.Sprintf("%s/%d", dir, n/len(backends)), 0o700); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("plugins: { pebble: { grants: { dir: %s/%d } } }\nstores: { a: { backend: %s, pipeline: %s } }", dir, n/len(backends), backends[n%len(backends)], pipelines[n%len(pipelines)])
	}
	h, err := open(t, yaml(0), quiet, withPebble)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	a := storeOf(t, h, "a")
	var stop atomic.Bool
	var wg sync.WaitGroup
	var calls atomic.Int64
	for c := range 8 {
		wg.Go(func() {
			key := fmt.Appendf(nil, "key-%d", c)
			for n := 1; !stop.Load(); n++ {
				value := fmt.Append(nil, n)
				if err := a.Set(ctx, key, value); err != nil {
					t.Errorf("set: %v", err)
					return
				}
				if v, err := a.Get(ctx, key); err != nil || string(v) != string(value) {
					t.Errorf("get: %q, %v, want %q", v, err, value)
					return
				}
				calls.Add(2)
			}
		})
	}
	states := make([]map[string]string, 2)
	for f := range states {
		wg.Go(func() { states[f] = followed(t, a, &stop) })
	}
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for n := 1; n < rounds && !t.Failed(); n++ {
		if _, err := reload(t, h, yaml(n)); err != nil {
			t.Errorf("reload %d: %v", n, err)
		}
		for before := calls.Load(); calls.Load() < before+16 && !t.Failed(); time.Sleep(time.Millisecond) {
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d calls", calls.Load())
	want := map[string]string{}
	for it, err := range a.Range(ctx, nil, nil, storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		want[string(it.Key)] = string(it.Value)
	}
	for f, got := range states {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("follower %d came to %v, the store is %v", f, got, want)
		}
	}
}

// followed is the state that a follower comes to, who begins again whenever the changes are
// gone. Its waits are long: no reload waits for them.
func followed(t *testing.T, s *plinth.Store, stop *atomic.Bool) map[string]string {
	state := map[string]string{}
	f := s.Changes(nil, nil, storage.ChangesOptions{FromScan: true, Wait: time.Second})
	for {
		over := stop.Load()
		page, err := f.Page(ctx)
		if errors.Is(err, storage.ErrVersionGone) {
			clear(state)
			f = s.Changes(nil, nil, storage.ChangesOptions{FromScan: true, Wait: time.Second})
			continue
		}
		if err != nil {
			t.Errorf("follow: %v", err)
			return nil
		}
		for _, c := range page.Changes {
			if c.Kind == storage.ChangePut {
				state[string(c.Key)] = string(c.Value)
			} else {
				t.Errorf("nothing is deleted here, and a follower gets %s %q", c.Kind, c.Key)
			}
		}
		if _, scanned := f.Version(); over && scanned && len(page.Changes) == 0 {
			return state
		}
	}
}
