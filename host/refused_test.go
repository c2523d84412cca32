package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
)

// copyOf is this program in a file of its own, with another digest for each tail.
func copyOf(t *testing.T, path, tail string) {
	t.Helper()
	from, err := os.Open(self(t))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if _, more := io.WriteString(to, tail); err == nil {
		err = more
	}
	if err = errors.Join(err, to.Close(), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// children is how many processes this one has started that still run.
func children(t *testing.T) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skipf("no list of processes: %v", err)
	}
	for _, task := range tasks {
		list, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		n += len(strings.Fields(string(list)))
	}
	return n
}

// A configuration that is wrong in whatever way changes nothing, says why, and leaves nothing
// behind; the store serves throughout.
func TestRefusedReloads(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	program, wasm := filepath.Join(dir, "acme"), filepath.Join(dir, "m.wasm")
	copyOf(t, program, "")
	if err := os.WriteFile(wasm, module.Wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	const stores = "stores: { a: { backend: { plugin: acme, on_swap: transfer }, pipeline: [cache] } }\n"
	acme := func(mode, more string) string {
		return fmt.Sprintf("plugins: { acme: { process: { command: [%q], tls: off, start_timeout: 1s }, grants: { env: { PLINTH_TEST_PLUGIN: %s, GORACE: atexit_sleep_ms=0 } }%s } }\n", program, mode, more)
	}
	h, err := open(t, acme("memory", "")+stores, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	a := storeOf(t, h, "a")
	set(t, a, "k", "0")
	broken := []struct{ name, yaml, want string }{
		{"syntax", "stores: { a: [", "plinth.yaml:1:"},
		{"unknown key", acme("memory", "") + "stores: { a: { backend: { plugin: acme }, pipelin: [] } }", `unknown key "pipelin"`},
		{"no such plugin", "stores: { a: { backend: { plugin: nobody } } }", `unknown plugin "nobody"`},
		{"missing file", strings.ReplaceAll(acme("memory", ""), program, program+"2") + stores, "not found"},
		{"missing module", fmt.Sprintf("plugins: { acme: { wasm: %q } }\n", wasm+"2") + stores, "no such file"},
		{"wrong digest", acme("memory", ", sha256: "+strings.Repeat("ab", 32)) + stores, "the configuration requires"},
		{"no wrapper", acme("memory", "") + "stores: { a: { backend: { plugin: acme }, pipeline: [cash] } }", `unknown wrapper "cash"`},
		{"lacks a capability", acme("memory", "") + "stores: { a: { backend: { plugin: acme }, require: [durable] } }", "does not have the capability durable"},
		{"crashes when opened", acme("crashes", "") + stores, "it crashes when it is opened"},
		{"hangs when opened", acme("hangs", "") + stores, "1s"},
		{"loses items", acme("memory", ", limits: { call: 9s }") + "stores: { a: { backend: { plugin: acme } } }", "would lose its items"},
	}
	rounds := 9
	if testing.Short() {
		rounds = 2
	}
	var processes, routines, files int
	for n := range rounds {
		for _, c := range broken {
			if c.name == "hangs when opened" && n > 1 {
				continue // it takes its time
			}
			_, err := reload(t, h, c.yaml)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
			has(t, a, "k", fmt.Sprint(n))
			if n > 0 && c.name != "syntax" && h.Reloaded().Err == nil {
				t.Errorf("%s: it is not told", c.name)
			}
		}
		// A new executable that does not do what it is for.
		copyOf(t, program, fmt.Sprint(n))
		if _, err := reload(t, h, acme("forgets", "")+stores); err == nil || !strings.Contains(err.Error(), "does not work on a scratch instance") {
			t.Errorf("fails the gate: %v", err)
		}
		has(t, a, "k", fmt.Sprint(n))
		set(t, a, "k", fmt.Sprint(n+1))
		if n == 0 {
			processes, routines, files = children(t), runtime.NumGoroutine(), openFiles(t)
		}
	}
	for end := time.Now().Add(10 * time.Second); children(t) > processes || runtime.NumGoroutine() > routines || openFiles(t) > files; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left behind: processes %d → %d, goroutines %d → %d, files %d → %d", processes, children(t), routines, runtime.NumGoroutine(), files, openFiles(t))
		}
	}
	if n, _ := h.Generation(); n != 1 {
		t.Errorf("generation %d", n)
	}
	// What passes the gate is taken, items and all.
	if _, err := reload(t, h, acme("memory", "")+stores); err != nil {
		t.Fatal(err)
	}
	has(t, a, "k", fmt.Sprint(rounds))
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no list of files: %v", err)
	}
	return len(all)
}

// A module is another plugin when its bytes are, and not when its file was only touched.
func TestReloadByDigest(t *testing.T) {
	dir := t.TempDir()
	wasm := filepath.Join(dir, "m.wasm")
	write := func(tail string) {
		if err := os.WriteFile(wasm, append(bytes.Clone(module.Wasm), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	yaml := fmt.Sprintf("plugins: { kv: { wasm: %q, limits: { memory: 1GiB } } }\nstores: { a: { backend: { plugin: kv, on_swap: discard } } }", wasm)
	h := mustOpen(t, yaml, quiet)
	a := storeOf(t, h, "a")
	set(t, a, "k", "1")
	write("")
	if changes := mustReload(t, h, yaml); !changes.None() {
		t.Errorf("a file that was touched: %s", changes)
	}
	has(t, a, "k", "1")
	write("\x00\x02\x01x") // a custom section
	if changes := mustReload(t, h, yaml); changes.String() != "replace plugin kv, replace store a (items lost)" {
		t.Errorf("other bytes: %s", changes)
	}
	if _, err := a.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was to be discarded: %v", err)
	}
	if p := h.Plugins()[0]; len(p.SHA256) != 64 {
		t.Errorf("its digest is %q", p.SHA256)
	}
}

// Two reloads at once follow each other; one that meets the end of the host is refused, and
// leaves nothing.
func TestReloadsAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	one, two := "stores: { a: { backend: { plugin: memory } } }", "stores: { a: { backend: { plugin: memory }, pipeline: [cache] } }"
	for round := range 20 {
		h, err := open(t, one, quiet)
		if err != nil {
			t.Fatal(err)
		}
		a := storeOf(t, h, "a")
		var wg sync.WaitGroup
		var refused atomic.Int64
		for n := range 8 {
			wg.Go(func() {
				yaml := []string{one, two}[n%2]
				if _, err := reload(t, h, yaml); err != nil {
					if !errors.Is(err, storage.ErrShuttingDown) && !strings.Contains(err.Error(), "closed") {
						t.Errorf("a reload: %v", err)
					}
					refused.Add(1)
				}
			})
			wg.Go(func() {
				if err := a.Set(ctx, []byte("k"), nil); err != nil && (round%2 == 0 || !errors.Is(err, storage.ErrShuttingDown)) {
					t.Errorf("a write: %v", err)
				}
			})
		}
		if round%2 == 1 { // the end comes in the middle
			if err := h.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if n, _ := h.Generation(); round%2 == 0 && (n != 9 || refused.Load() != 0) {
			t.Errorf("generation %d, %d refused", n, refused.Load())
		}
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if _, err := reload(t, h, two); !errors.Is(err, storage.ErrShuttingDown) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// A transaction and a scan that began before their store moved to another backend see one of
// the two, or a conflict: never a mix.
func TestReloadUnderATransaction(t *testing.T) {
	one := "stores: { a: { backend: { plugin: memory, on_swap: transfer } } }"
	two := "stores: { a: { backend: { plugin: memory, on_swap: transfer, config: { max_bytes: 64MiB } } } }"
	h := mustOpen(t, one, quiet)
	a := storeOf(t, h, "a")
	for n := range 500 {
		set(t, a, fmt.Sprintf("k%03d", n), "1")
	}
	txn := a.Begin(storage.Serializable)
	if _, err := txn.Get(ctx, []byte("k000")); err != nil {
		t.Fatal(err)
	}
	n := 0
	for it, err := range a.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 10}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("k%03d", n); string(it.Key) != want {
			t.Fatalf("item %d of the scan is %s", n, it.Key)
		}
		if n++; n == 100 {
			mustReload(t, h, two)
		}
	}
	if n != 500 {
		t.Errorf("the scan has %d items", n)
	}
	set(t, a, "k000", "2")
	if err := txn.Set(ctx, []byte("k001"), []byte("3")); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(ctx); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the transaction: %v", err)
	}
	has(t, a, "k001", "1")
	snapshot := a.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 10, Snapshot: true})
	var last error
	n = 0
	for _, err := range snapshot {
		if last = err; err != nil {
			break
		}
		if n++; n == 100 {
			mustReload(t, h, one)
		}
	}
	if !errors.Is(last, storage.ErrConflict) && n != 500 {
		t.Errorf("a scan of one state: %d items, %v", n, last)
	}
}
