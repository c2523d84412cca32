package isolate_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// alive is a module of one function whose n values are all alive at once: compiling it
// takes nearly a kilobyte for each of its bytes.
func alive(n int) []byte {
	sized := func(parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
	}
	body := bytes.Join([][]byte{{0}, bytes.Repeat([]byte{0x41, 0, 0x28, 2, 0}, n), bytes.Repeat([]byte{0x6A}, n-1), {0x1A, 0x0B}}, nil)
	return bytes.Join([][]byte{[]byte("\x00asm\x01\x00\x00\x00"), {1, 4, 1, 0x60, 0, 0}, {3, 2, 1, 0}, {5, 3, 1, 0, 1}, {10}, sized([]byte{1}, sized(body))}, nil)
}

// A module that is not trusted is compiled by a worker within bounds, which ends alone;
// what it compiled comes back by the cache, or by a folder that is gone afterwards.
func TestCompilesInAWorker(t *testing.T) {
	ctx := context.Background()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	load := func(module []byte, dir string, b isolate.Bounds) (string, error) {
		t.Helper()
		r, err := wasmhost.NewRuntime(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		r.CompileBy(isolate.Compiler([]string{self}, b))
		var log bytes.Buffer
		m, err := r.Load(ctx, module, wasmhost.Options{Name: "acme", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			err = m.Close(ctx)
		}
		return log.String(), err
	}
	kv, err := os.ReadFile(guests + "kv.wasm")
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	none := isolate.Bounds{Memory: 1, Time: time.Minute} // a worker that cannot even start to
	for name, c := range map[string]struct {
		module []byte
		dir    string
		b      isolate.Bounds
		want   string // of the error
	}{
		"a module, kept":            {kv, kept, isolate.DefaultBounds(), ""},
		"a module, not kept":        {kv, "", isolate.DefaultBounds(), ""},
		"too much memory":           {alive(100_000), "", isolate.Bounds{Memory: 256 << 20, Time: time.Minute}, "compiling the module takes more than 256 MiB of memory"},
		"too much time":             {alive(100_000), "", isolate.Bounds{Memory: 4 << 30, Time: 50 * time.Millisecond}, "compiling the module takes more than 50ms"},
		"a module that is no good":  {append(bytes.Clone(alive(10)[:8]), 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 5, 1, 3, 0, 0x1A, 0x0B), "", isolate.DefaultBounds(), "compile module"},
		"a module without a plugin": {alive(10), "", isolate.DefaultBounds(), "not a Plinth plugin"},
	} {
		log, err := load(c.module, c.dir, c.b)
		switch e := storage.AsError(err); {
		case c.want == "" && (err != nil || log != ""):
			t.Errorf("%s: %v\n%s", name, err, log)
		case c.want != "" && (e == nil || e.Code != storage.InvalidArgument || !strings.Contains(e.Error(), c.want)):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if log, err := load(kv, kept, none); err != nil || log != "" {
		t.Errorf("what was kept is compiled again: %v\n%s", err, log)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Without a worker that can be started, this process compiles, and says so.
func TestCompilesWithoutAWorker(t *testing.T) {
	ctx := context.Background()
	r, err := wasmhost.NewRuntime(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	r.CompileBy(isolate.Compiler([]string{"/none/worker"}, isolate.DefaultBounds()))
	kv, err := os.ReadFile(guests + "kv.wasm")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m, err := r.Load(ctx, kv, wasmhost.Options{Name: "acme", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || !strings.Contains(log.String(), "compiling the module in this process") {
		t.Fatalf("%v\n%s", err, &log)
	}
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}
