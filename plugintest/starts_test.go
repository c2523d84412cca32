package plugintest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// startsKey names a file to which each process of the plugin adds a byte.
const startsKey = "PLUGINTEST_STARTS"

// TestMain is the plugin, where a host has started it.
func TestMain(m *testing.M) {
	if os.Getenv(abi.CookieKey) == "" {
		os.Exit(m.Run())
	}
	if f, err := os.OpenFile(os.Getenv(startsKey), os.O_APPEND|os.O_WRONLY, 0); err == nil {
		f.Write([]byte{'.'})
		f.Close()
	}
	process.Serve(memory.Open)
}

// The whole kit over a process starts it some dozen times: in a slow language a start takes
// a second.
func TestStartsOfAProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute under the race detector, and runs the checks that TestSmallGuest does")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starts := filepath.Join(t.TempDir(), "starts")
	if err := os.WriteFile(starts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := plugintest.RunProcess(t.Context(), []string{self}, plugintest.Options{Name: "memory", Config: []byte(`{"max_bytes": "32MiB"}`), Env: map[string]string{startsKey: starts}})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range r.Results {
		if one.Outcome == storagetest.Failed {
			t.Errorf("%s/%s: %s", one.Category, one.Name, one.Text)
		}
	}
	made, err := os.ReadFile(starts)
	if err != nil {
		t.Fatal(err)
	}
	const most = 32
	if n, checks := len(made), len(r.Results); n > most || checks < 250 || r.Count(storagetest.Passed) < 200 {
		t.Errorf("%d starts for %d checks, of which %d passed; want at most %d", n, checks, r.Count(storagetest.Passed), most)
	} else {
		t.Logf("%d starts for %d checks", n, checks)
	}
}
