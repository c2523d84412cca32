package plugintest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// compiled is where compiled modules are kept between runs.
func compiled(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}

func run(t *testing.T, binary []byte, o plugintest.Options) *plugintest.Report {
	t.Helper()
	o.CacheDir = compiled(t)
	r, err := plugintest.Run(t.Context(), binary, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The memory plugin passes everything.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where TestSmallGuest runs what applies to it")
	}
	passes(t, module.Wasm, "memory", 250, plugintest.Options{Config: []byte(`{"max_bytes": "32MiB"}`), Memory: 256 << 20})
}

// A guest of a few kilobytes, without TTLs and snapshots, passes what it is asked.
func TestSmallGuest(t *testing.T) {
	binary, err := os.ReadFile("../internal/carrier/wasmhost/testdata/guests/kv.wasm")
	if err != nil {
		t.Fatal(err)
	}
	passes(t, binary, "kv", 150, plugintest.Options{})
}

func passes(t *testing.T, binary []byte, name string, least int, o plugintest.Options) {
	t.Helper()
	r := run(t, binary, o)
	for _, one := range r.Results {
		if one.Outcome == storagetest.Failed {
			t.Errorf("%s/%s: %s", one.Category, one.Name, one.Text)
		}
		if one.Category == "hostile" && one.Outcome != storagetest.Passed {
			t.Errorf("%s is %s: %s", one.Name, one.Outcome, one.Text)
		}
	}
	if r.Name != name || len(r.SHA256) != 64 || !r.OK() || r.Count(storagetest.Passed) < least {
		t.Errorf("%s %s, %d passed", r.Name, r.SHA256, r.Count(storagetest.Passed))
	}
}

// The faults of a plugin are reported, check by check, and the run goes on.
func TestWrongPlugins(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where TestSmallGuest runs the same checks")
	}
	for name, fails := range map[string][]string{
		"parrot":  {"hostile/plain_answers"}, // and nothing else: whatever is asked has that cause
		"hostile": {"hostile/configuration_with_an_unknown_field"},
	} {
		t.Run(name, func(t *testing.T) {
			binary, err := os.ReadFile("../internal/carrier/wasmhost/testdata/guests/" + name + ".wasm")
			if err != nil {
				t.Fatal(err)
			}
			failed := map[string]bool{}
			r, err := plugintest.Run(t.Context(), binary, plugintest.Options{CacheDir: compiled(t), Each: func(one storagetest.Result) {
				failed[one.Category+"/"+one.Name] = one.Outcome == storagetest.Failed
			}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range fails {
				if !failed[f] {
					t.Errorf("%s does not fail", f)
				}
			}
			if n := r.Count(storagetest.Failed); n == 0 || name == "parrot" && n != 1 {
				t.Errorf("%d checks fail", n)
			}
		})
	}
}

// A part of the checks, and an end at the first that fails.
func TestPartOfTheChecks(t *testing.T) {
	binary, err := os.ReadFile("../internal/carrier/wasmhost/testdata/guests/parrot.wasm")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, binary, plugintest.Options{FailFast: true})
	if n := r.Count(storagetest.Failed); n != 1 || r.Results[len(r.Results)-1].Outcome != storagetest.Failed {
		t.Errorf("%d checks failed: %+v", n, r.Results)
	}
	r = run(t, binary, plugintest.Options{Only: func(category, check string) bool { return category == "hostile" && strings.HasPrefix(check, "conf") }})
	if len(r.Results) != 1 || r.Results[0].Name != "configuration_with_an_unknown_field" {
		t.Errorf("%+v", r.Results)
	}
}

// What cannot be tried at all is an error.
func TestNoPlugin(t *testing.T) {
	for name, c := range map[string]struct {
		binary []byte
		config string
		want   string
	}{
		"no module":                       {[]byte("hello"), "", "not a WebAssembly module"},
		"a module that is no plugin":      {[]byte("\x00asm\x01\x00\x00\x00"), "", "does not export plinth_abi_v1"},
		"a configuration that is refused": {module.Wasm, `{"max_bytes": 1}`, "max_bytes"},
		// As a third-party module, it has the memory that serve gives it.
		"more memory than there is": {module.Wasm, "", "limits.memory is 67108864"},
	} {
		_, err := plugintest.Run(context.Background(), c.binary, plugintest.Options{CacheDir: compiled(t), Config: []byte(c.config)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
