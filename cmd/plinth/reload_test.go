package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
)

// variant is the memory module with a digest of its own: a custom section at its end.
func variant(n int) []byte {
	name := fmt.Sprintf("variant%d", n)
	return append(bytes.Clone(module.Wasm), append([]byte{0, byte(len(name) + 1), byte(len(name))}, name...)...)
}

// register is the model of a key: what was put last is what is got.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[int][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(access).key
			by[key] = append(by[key], o)
		}
		var all [][]porcupine.Operation
		for _, of := range by {
			all = append(all, of)
		}
		return all
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if a := input.(access); a.put {
			return true, a.value
		}
		return output.(string) == state.(string), state
	},
}

// access is a call to a key.
type access struct {
	key   int
	put   bool
	value string
}

// caller reads and writes keys, over one of the protocols.
type caller interface {
	put(ctx context.Context, key, value string) error
	get(ctx context.Context, key string) (string, error) // empty if absent
}

type webCaller struct{ base string }

func (c webCaller) put(ctx context.Context, key, value string) error {
	_, err := c.do(ctx, http.MethodPut, key, value)
	return err
}

func (c webCaller) get(ctx context.Context, key string) (string, error) {
	return c.do(ctx, http.MethodGet, key, "")
}

func (c webCaller) do(ctx context.Context, method, key, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/stores/default/keys/"+key, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "", err
	case res.StatusCode == http.StatusNotFound && strings.Contains(string(got), "not_found"):
		return "", nil
	case res.StatusCode/100 != 2:
		return "", fmt.Errorf("%s: %s", res.Status, got)
	}
	return string(got), nil
}

type rpcCaller struct{ s *storage.Store }

func (c rpcCaller) put(ctx context.Context, key, value string) error {
	return c.s.Set(ctx, []byte(key), []byte(value))
}

func (c rpcCaller) get(ctx context.Context, key string) (string, error) {
	v, err := c.s.Get(ctx, []byte(key))
	if storage.CodeOf(err) == storage.NotFound {
		return "", nil
	}
	return string(v), err
}

// resident is the memory that this process holds, in bytes, once it has given back what it
// need not hold.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	runtime.GC()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("no figures of this process: %v", err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(raw))[1])
	return pages * os.Getpagesize()
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no figures of this process: %v", err)
	}
	return len(all)
}

// Pipelines, settings and digests of plugins change while callers of both protocols work: no
// call fails, every answer is right, and nothing is left behind. PLINTH_RELOADS is how often.
func TestReloadsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plinth.yaml")
	modules := 3
	if testing.Short() { // each takes a minute to compile under the race detector
		modules = 2
	}
	for n := range modules {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%d.wasm", n)), variant(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pipelines := []string{"[instrument, cache]", "[]", "[instrument, size_limits: { value: 1MiB }, cache, batch]", "[rate_limit: { rate: 10000000 }, cache, batch]", "[instrument, cache, retry]"}
	write := func(n int) {
		yaml := fmt.Sprintf("plugins: { kv: { wasm: ./v%d.wasm, limits: { memory: 256MiB } } }\nstores: { default: { backend: { plugin: kv, on_swap: transfer, config: { max_bytes: 16MiB } }, pipeline: %s } }\nserver: { limits: { max_keys: %d } }\n",
			n/2%modules, pipelines[n%len(pipelines)], 100+n)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	rounds := 120
	if testing.Short() {
		rounds = 30
	}
	if n, err := strconv.Atoi(os.Getenv("PLINTH_RELOADS")); err == nil {
		rounds = n
	}
	web, rpc := serveFile(t, file)
	reload := func(n int) {
		write(n)
		res, err := http.Post(web+"/v1/admin/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			t.Fatalf("reload %d: %s: %s", n, res.Status, body)
		}
	}
	far, err := client.Dial(context.Background(), client.Config{Address: strings.TrimPrefix(rpc, "grpc://"), Attempts: 1}, client.Settings{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close(context.Background())

	all := &callers{keys: 24, start: time.Now()}
	for c := range 16 {
		by := caller(webCaller{web})
		if c%2 == 0 {
			by = rpcCaller{storage.New(far, storage.Settings{Borrowed: true})}
		}
		all.add(t, by)
	}
	for n := range 20 { // what there is once, is there
		reload(n)
	}
	all.judge(t)
	memory, files, routines := resident(t), descriptors(t), runtime.NumGoroutine()
	for n := 20; n < rounds && !t.Failed(); n++ {
		if reload(n); n%50 == 0 {
			all.judge(t)
		}
	}
	all.judge(t)
	settles := func(what string, now func() int, most int) {
		t.Helper()
		var n int
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if n = now(); n <= most {
				return
			}
		}
		t.Errorf("%s: %d, at most %d expected", what, n, most)
	}
	settles("goroutines", runtime.NumGoroutine, routines+20) // callers are in calls, more or fewer
	settles("descriptors", func() int { return descriptors(t) }, files+4)
	if !underRace {
		settles("bytes of memory", func() int { return resident(t) }, memory+memory/10+4<<20)
	}
	after := resident(t)
	all.end()
	var is status
	if err := json.Unmarshal([]byte(done(t, "status", "--json", "--addr", web)), &is); err != nil || is.Generation != rounds+1 || !is.Reload.OK {
		t.Errorf("status: %+v, %v", is, err)
	}
	t.Logf("%d reloads, %d calls, memory %d → %d MiB, %d → %d descriptors", rounds, all.calls, memory>>20, after>>20, files, descriptors(t))
}

// callers make calls at once, whose results are kept until they are judged.
type callers struct {
	keys  int
	start time.Time
	ended atomic.Bool
	wg    sync.WaitGroup
	turn  sync.RWMutex // for reading: by a call; for writing: by the judge

	mu      sync.Mutex
	first   caller
	history []porcupine.Operation
	calls   int
	id      int
}

func (all *callers) now() int64 { return time.Since(all.start).Nanoseconds() }

// add has one more call until the end.
func (all *callers) add(t *testing.T, by caller) {
	all.id++
	id := all.id
	if all.first == nil {
		all.first = by
	}
	all.wg.Go(func() {
		for n := 0; !all.ended.Load(); n++ {
			a := access{key: rand.IntN(all.keys), put: rand.IntN(3) == 0, value: fmt.Sprintf("%d-%d", id, n)}
			if err := all.call(by, id, a); err != nil {
				t.Errorf("caller %d: %+v: %v", id, a, err)
				return
			}
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
	})
}

func (all *callers) call(by caller, id int, a access) (err error) {
	all.turn.RLock()
	defer all.turn.RUnlock()
	op := porcupine.Operation{ClientId: id, Input: a, Output: "", Call: all.now()}
	if a.put {
		err = by.put(context.Background(), fmt.Sprint("k", a.key), a.value)
	} else {
		op.Output, err = by.get(context.Background(), fmt.Sprint("k", a.key))
	}
	op.Return = all.now()
	all.mu.Lock()
	defer all.mu.Unlock()
	all.calls++
	all.history = append(all.history, op)
	return err
}

// judge checks the results since its last call. The next history begins with what is stored.
func (all *callers) judge(t *testing.T) {
	t.Helper()
	all.turn.Lock()
	defer all.turn.Unlock()
	var next []porcupine.Operation
	for key := range all.keys {
		op := porcupine.Operation{Input: access{key: key}, Call: all.now()}
		got, err := all.first.get(context.Background(), fmt.Sprint("k", key))
		if err != nil {
			t.Error(err)
		}
		op.Output, op.Return = got, all.now()
		all.history = append(all.history, op)
		op.Input, op.Output = access{key: key, put: true, value: got}, ""
		next = append(next, op)
	}
	if result, _ := porcupine.CheckOperationsVerbose(register, all.history, time.Minute); result != porcupine.Ok {
		t.Errorf("%d calls: the history is %s", len(all.history), result)
	}
	all.history = next
}

func (all *callers) end() {
	all.ended.Store(true)
	all.wg.Wait()
}
