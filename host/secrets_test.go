package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// masks of secrets: the secrets themselves must not be in this program.
const masks = "abcd"

// masked is a secret of the test, each byte with a bit of it turned.
func masked(of byte) []byte { return bytes.Repeat([]byte{of ^ 1, 'x' ^ 1, '7' ^ 1}, 9) }

func plain(of byte) []byte {
	b := masked(of)
	for i := range b {
		b[i] ^= 1
	}
	return b
}

// A plugin's secrets, from a file, in the YAML and in the environment that it is granted, are
// not on the heap of a host that runs, where they would be swapped and dumped.
func TestSecretsLeaveTheHeap(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, parts ...[]byte) {
		t.Helper()
		all := bytes.Join(parts, nil)
		defer clear(all)
		for _, part := range parts {
			defer clear(part)
		}
		if err := os.WriteFile(filepath.Join(dir, name), all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", plain('a'))
	write("c", plain('c'))
	write("d", plain('d'))
	write("plinth.yaml", []byte(`
plugins:
  near: { isolation: none }
  far: { isolation: process, grants: { env: { THE_TOKEN: "${file:c}" } } }
stores:
  near: { backend: { plugin: near, config: { dsn: "x=${file:a}", password: "`), plain('b'), []byte(`" } } }
  far: { backend: { plugin: far, config: { max_bytes: 1MiB, note: "${file:d}" } } }
`))
	opens := make(chan *plinth.Host)
	go func() { // its stack goes with it
		h, err := plinth.Open(ctx, filepath.Join(dir, "plinth.yaml"), plinth.WithModule("memory", module.Wasm), plinth.WithWorker(self(t)),
			plinth.WithBackend("near", keepsNothing), keeper, quiet)
		if err != nil {
			t.Error(err)
		}
		opens <- h
	}()
	h := <-opens
	if h == nil {
		return
	}
	defer h.Close(ctx)
	for _, name := range []string{"near", "far"} {
		store, err := h.Store(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Set(ctx, []byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // what was freed may be kept for one collection more
		runtime.GC()
	}
	dump, err := os.Create(filepath.Join(dir, "heap"))
	if err != nil {
		t.Fatal(err)
	}
	debug.WriteHeapDump(dump.Fd())
	dump.Close()
	heap, err := os.ReadFile(dump.Name())
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(masks) {
		if secret := plain(masks[i]); bytes.Contains(heap, secret) {
			at := bytes.Index(heap, secret)
			t.Errorf("the secret %c is on the heap: %q", masks[i], heap[max(0, at-80):min(len(heap), at+120)])
		}
	}
	if !bytes.Contains(heap, []byte("THE_TOKEN")) {
		t.Error("the dump does not have what it should")
	}
}

// keeper is what the worker links in, too.
var keeper = plinth.WithBackend("far", keepsNothing)

// keepsNothing is memory that keeps nothing of its configuration.
func keepsNothing(ctx context.Context, env sdk.Env) (storage.Backend, error) {
	if !bytes.Contains(env.Config, plain('d')) && !(bytes.Contains(env.Config, plain('a')) && bytes.Contains(env.Config, plain('b'))) {
		return nil, fmt.Errorf("the configuration is %d bytes, without its secrets", len(env.Config))
	}
	env.Config = nil
	return memory.Open(ctx, env)
}
