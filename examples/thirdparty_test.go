package examples

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// in runs go in the folder of an example.
func in(t *testing.T, folder string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// compiled is where compiled plugins are kept between runs: compiling takes
// seconds, under the race detector a minute.
func compiled(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}

// A plugin in a module of its own requires Plinth and nothing else, is built as
// its README says, and serves behind a pipeline.
func TestThirdPartyGo(t *testing.T) {
	const folder = "thirdparty-go"
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(mod, []byte("\nrequire")); n != 1 || bytes.Contains(mod, []byte("indirect")) || !bytes.Contains(mod, []byte("\nrequire github.com/plinthkv/plinth v0.0.0\n")) {
		t.Errorf("go.mod requires more than Plinth:\n%s", mod)
	}
	in(t, folder, nil, "test", ".")
	module := filepath.Join(t.TempDir(), "dictionary.wasm")
	in(t, folder, []string{"GOOS=wasip1", "GOARCH=wasm"}, "build", "-trimpath", "-buildmode=c-shared", "-o", module, ".")

	ctx := context.Background()
	var log bytes.Buffer
	open := func(words string) (*plinth.Host, error) {
		return plinth.Open(ctx, module+".yaml", plinth.WithCacheDir(compiled(t)), plinth.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), plinth.WithContent([]byte(`
plugins: { dictionary: { wasm: dictionary.wasm } }
stores: { default: { backend: { plugin: dictionary, config: { words: `+words+` } }, pipeline: [instrument, cache] } }`)))
	}
	h, err := open("{ eins: one, zwei: two }")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	s := storeOf(t, h, "default")
	for range 2 {
		if v, err := s.Get(ctx, []byte("zwei")); err != nil || string(v) != "two" {
			t.Errorf("%q, %v", v, err)
		}
	}
	var keys string
	for it, err := range s.Prefix(ctx, nil, storage.RangeOptions{PageItems: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		keys += string(it.Key) + " "
	}
	if keys != "eins zwei " {
		t.Error(keys)
	}
	if err := s.Delete(ctx, []byte("eins")); !errors.Is(err, storage.ErrUnsupported) {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "msg=opened plugin=dictionary words=2") {
		t.Errorf("the log has nothing of the plugin: %s", log.String())
	}
	if _, err := open("{}"); err == nil || !strings.Contains(err.Error(), ":3:63: stores.default.backend.config.words: plugin dictionary: a dictionary needs words") {
		t.Error(err)
	}
}

// A plugin in C is no longer than it may be, passes every check that there is for
// modules, and serves behind a pipeline.
func TestThirdPartyC(t *testing.T) {
	const folder = "thirdparty-c"
	source, err := os.ReadFile(filepath.Join(folder, "shelf.c"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n > 320 {
		t.Errorf("shelf.c has %d lines", n)
	}
	module, err := os.ReadFile(filepath.Join(folder, "shelf.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := plugintest.Run(t.Context(), module, plugintest.Options{Name: "shelf"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Outcome == storagetest.Failed {
			t.Errorf("%s/%s: %s", r.Category, r.Name, r.Text)
		}
	}
	ctx := t.Context()
	h, err := plinth.Open(ctx, filepath.Join(folder, "plinth.yaml"), plinth.WithContent([]byte(`
plugins: { shelf: { wasm: ./shelf.wasm } }
stores:
  default: { backend: { plugin: shelf }, pipeline: [instrument, cache, batch] }`)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	s := storeOf(t, h, "default")
	if err := s.Set(ctx, []byte("hello"), []byte("world")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, []byte("hello")); err != nil || string(v) != "world" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := s.Put(ctx, []byte("hello"), nil, storage.WithTTL(time.Hour)); !errors.Is(err, storage.ErrUnsupported) {
		t.Errorf("what it does not claim: %v", err)
	}
}
