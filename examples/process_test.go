package examples

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// plugins are the processes that this one has started.
func plugins(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children") // the thread may be gone
		for _, field := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// use puts an example behind a pipeline, kills it, and uses it again.
func use(t *testing.T, path, plugin string, durable bool) {
	t.Helper()
	ctx := t.Context()
	h, err := plinth.Open(ctx, path, plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent([]byte(fmt.Sprintf(`
plugins: { acme: { %s, on_loss: restart, restart: { wait: 1m } } }
stores: { default: { backend: { plugin: acme }, pipeline: [instrument, cache, batch] } }`, plugin))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s := storeOf(t, h, "default")
	if err := s.Set(ctx, []byte("hello"), []byte("world")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, []byte("hello"), nil, storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) || storage.AsError(err).FailedCheck() != 0 {
		t.Errorf("of what is there: %v", err)
	}
	if err := s.Set(ctx, make([]byte, 2000), nil); !errors.Is(err, storage.ErrSizeLimit) {
		t.Errorf("a key that is too long: %v", err)
	}
	pids := plugins(t)
	if len(pids) != 1 {
		t.Fatalf("%d plugins run", len(pids))
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if h, err := s.Health(ctx, storage.Readiness); err == nil && h.Details["restarts"] == "1" && h.Status == storage.Healthy {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not come back")
		}
	}
	v, err := s.Get(ctx, []byte("hello"))
	if durable && (err != nil || string(v) != "world") || !durable && !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after it was killed: %q, %v", v, err)
	}
}

// A durable plugin in a module of its own, as a process: it passes every check, and
// loses nothing when it is killed.
func TestThirdPartyGoProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it is tried without -short: nothing of the example is compiled with the race detector")
	}
	const folder = "thirdparty-go-process"
	in(t, folder, nil, "test", ".")
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal")
	in(t, folder, nil, "build", "-o", journal, ".")
	use(t, filepath.Join(dir, "plinth.yaml"), "process: { command: [./journal] }, grants: { dir: . }", true)
	lookingTouchesNothing(t, filepath.Join(dir, "plinth.yaml"))
	report, err := plugintest.RunProcess(t.Context(), []string{journal}, plugintest.Options{Name: "journal", Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Outcome == storagetest.Failed {
			t.Errorf("%s/%s: %s", r.Category, r.Name, r.Text)
		}
	}
	if !report.Caps.Has(storage.CapDurable) || report.Count(storagetest.Passed) < 150 {
		t.Errorf("%d checks passed, of one that can %s", report.Count(storagetest.Passed), report.Caps)
	}
}

// While a host runs, its file is checked, and a second host is started on it by mistake:
// what was acknowledged is there after a restart, in each of two stores.
func lookingTouchesNothing(t *testing.T, path string) {
	t.Helper()
	ctx := t.Context()
	content := plinth.WithContent([]byte(`
plugins: { acme: { process: { command: [./journal] }, grants: { dir: . } } }
stores: { one: { backend: { plugin: acme }, pipeline: [] }, two: { backend: { plugin: acme }, pipeline: [] } }`))
	silent := plinth.WithLogger(slog.New(slog.DiscardHandler))
	start := func(more ...plinth.Option) (*plinth.Host, error) {
		return plinth.Open(ctx, path, append(more, content, silent)...)
	}
	h, err := start()
	if err != nil {
		t.Fatal(err)
	}
	checked := make(chan error, 1)
	go func() {
		for range 3 {
			trial, err := start(plinth.WithTrial())
			if err == nil {
				if !storeOf(t, trial, "one").Info().Caps.Has(storage.CapDurable) || storeOf(t, trial, "one").Untried() != nil {
					err = errors.New("the check does not know what the store would be")
				}
				err = errors.Join(err, trial.Close(ctx))
			}
			if err != nil {
				checked <- err
				return
			}
		}
		second, err := start()
		if err == nil {
			err = errors.Join(errors.New("a second host opened the same folder"), second.Close(ctx))
		} else if strings.Contains(err.Error(), "in use by another process") {
			err = nil
		}
		checked <- err
	}()
	writes := 0
	for done := false; !done; writes++ {
		for _, name := range []string{"one", "two"} {
			if err := storeOf(t, h, name).Set(ctx, fmt.Appendf(nil, "%06d", writes), []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-checked:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if h, err = start(); err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	for _, name := range []string{"one", "two"} {
		n := 0
		for it, err := range storeOf(t, h, name).Prefix(ctx, nil, storage.RangeOptions{}) {
			if err != nil || string(it.Value) != name {
				t.Fatalf("%s: %q: %q, %v", name, it.Key, it.Value, err)
			}
			n++
		}
		if n != writes {
			t.Errorf("%s has %d of %d acknowledged writes after a restart", name, n, writes)
		}
	}
}

// A plugin in Python, over gRPC alone.
func TestThirdPartyPython(t *testing.T) {
	if testing.Short() {
		t.Skip("it is tried without -short: nothing of the example is compiled with the race detector")
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed, which this example is for")
	}
	const folder = "thirdparty-python"
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	venv := filepath.Join(cache, "plinth-test", "python")
	if err := os.MkdirAll(filepath.Dir(venv), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(folder, "setup.sh"), venv).CombinedOutput(); err != nil {
		t.Fatalf("setup.sh: %v\n%s", err, out)
	}
	script, err := filepath.Abs(filepath.Join(folder, "plugin.py"))
	if err != nil {
		t.Fatal(err)
	}
	use(t, filepath.Join(t.TempDir(), "plinth.yaml"), fmt.Sprintf(`process: { command: [%q, %q], tls: "off" }`, filepath.Join(venv, "bin", "python"), script), false)
	report, err := plugintest.RunProcess(t.Context(), []string{filepath.Join(venv, "bin", "python"), script}, plugintest.Options{
		Name: "python", Plaintext: true,
		Only: func(category, _ string) bool { // what takes seconds: the rest is about the language, not the plugin
			return slices.Contains([]string{"hostile", "crud", "write_set", "scan", "ttl", "cas", "limits", "versions"}, category)
		}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Outcome == storagetest.Failed {
			t.Errorf("%s/%s: %s", r.Category, r.Name, r.Text)
		}
	}
	if report.Count(storagetest.Passed) < 90 {
		t.Errorf("%d checks passed", report.Count(storagetest.Passed))
	}
}

// storeOf is the store of that name, which has to be there.
func storeOf(t testing.TB, h *plinth.Host, name string) *plinth.Store {
	t.Helper()
	s, err := h.Store(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
