package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// A plugin in Go, through the SDK: what its runtime does in one thread that is
// there only while a call runs. It is built here, as its author builds it.

var buildGoGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "goguest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "go.wasm"), "./testdata/goguest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the Go guest: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "go.wasm"))
})

// goGuest loads the Go guest. Its log is kept, unless o has another.
func goGuest(t *testing.T, o wasmhost.Options) (*wasmhost.Module, *logged) {
	t.Helper()
	binary, err := buildGoGuest()
	if err != nil {
		t.Fatal(err)
	}
	r, err := wasmhost.NewRuntime(context.Background(), compiled(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	log := &logged{}
	o.Name = "go"
	if o.Log == nil {
		o.Log = slog.New(log)
	}
	if o.Call == 0 {
		o.Call = time.Minute // nothing here takes long; a busy machine does
	}
	return load(t, r, binary, o), log
}

func TestGoGuest(t *testing.T) {
	m, log := goGuest(t, wasmhost.Options{Memory: 64 << 20, Env: carrier.EnvOf(map[string]string{"GREETING": "hello"})})
	b := openModule(t, m, "")
	log.take()
	for _, c := range []struct{ key, want string }{
		{"print", "done"},
		{"log", "done"},
		{"garbage", strconv.Itoa(1000 << 20)}, // a thousand MiB, in 64 of them
		{"sleep 5ms", "true"},
		{"env", "[GREETING=hello]"},
		{"file", "open /etc/passwd: Bad file number"},
		{"create /tmp/x", "open /tmp/x: Bad file number"},
		{"dial 127.0.0.1:80", "dial tcp 127.0.0.1:80: address 127.0.0.1:80: connect: Connection refused"},
	} {
		it, err := get(b, c.key)
		if err != nil || string(it.Value) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.key, it.Value, err, c.want)
		}
	}
	log.expect(t,
		"INFO to standard output plugin=go",
		"WARN to standard error plugin=go",
		"INFO hello plugin=go a=1 g=map[b:two c:[1 2]]",
		"DEBUG details plugin=go")

	// The clock of the SDK is the host's, and stands still between calls; goroutines
	// do as well.
	it, err := get(b, "now")
	if ms, _ := strconv.ParseInt(string(it.Value), 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
		t.Errorf("now is %s, %v", it.Value, err)
	}
	ticks := func() int {
		it, err := get(b, "ticks")
		n, atoiErr := strconv.Atoi(string(it.Value))
		if err != nil || atoiErr != nil {
			t.Fatalf("%q: %v, %v", it.Value, err, atoiErr)
		}
		return n
	}
	if _, err := get(b, "tick"); err != nil {
		t.Fatal(err)
	}
	before := ticks()
	time.Sleep(20 * time.Millisecond)
	if n := ticks(); n > before+1 {
		t.Errorf("a goroutine ticked %d times while no call ran", n-before)
	}
	for try := 1; ; try++ { // on a busy machine it may have little of the time
		before = ticks()
		if _, err := get(b, "sleep 20ms"); err != nil {
			t.Fatal(err)
		}
		n := ticks()
		if n >= before+5 {
			break
		}
		if try == 20 {
			t.Fatalf("a goroutine ticked %d times in a call of 20 ms", n-before)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// The error that ends a Go guest contains the panic's own text if it has one; the rest
// is in the log.
func TestGoGuestFails(t *testing.T) {
	m, log := goGuest(t, wasmhost.Options{Memory: 64 << 20})
	for _, c := range []struct {
		key, want string // with X for the function, and * for the trap that the runtime uses
		logged    string // what the log has
	}{
		{"panic", "panic: boom", ""},
		{"panic-error", "panic: an error with 42", ""},
		{"nil", "panic: runtime error: invalid memory address or nil pointer dereference", ""},
		{"goroutine-panic", "X: wasm error: unreachable: panic: boom elsewhere", "WARN main.(*backend).do.func1()"},
		{"exit", "X: the guest exited with code 3", ""},
		{"deadlock", "X: wasm error: unreachable: fatal error: all goroutines are asleep - deadlock!", "WARN goroutine 1 "},
		{"eat", "X: wasm error: *: fatal error: out of memory", "WARN runtime.throw("},
		{"recurse", "X: wasm error: *: fatal error: out of memory", "WARN runtime.throw("},
	} {
		t.Run(c.key, func(t *testing.T) {
			for _, write := range []bool{false, true} {
				b := openModule(t, m, "")
				log.take()
				var err error
				var what string
				code, export := storage.Unavailable, "plinth_get"
				if write {
					code, export = storage.OutcomeUnknown, "plinth_call"
					what = "a write"
					_, err = b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(c.key), nil)}})
				} else {
					what = "a read"
					_, err = get(b, c.key)
				}
				want := "plugin go: " + strings.ReplaceAll(c.want, "X", export)
				if storage.CodeOf(err) != code || !matches(err.Error(), want) {
					t.Errorf("%s: %v: %v\nwant %v: %s", what, storage.CodeOf(err), err, code, want)
				}
				if lines := strings.Join(log.take(), "\n"); !strings.Contains(lines, c.logged) {
					t.Errorf("%s: the log has\n%s\nand nothing of %q", what, lines, c.logged)
				}
				if _, err := get(b, "log"); !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("%s: it was called again: %v", what, err)
				}
				if err := b.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A Go guest that does not come back is interrupted, asleep or awake.
func TestGoGuestIsInterrupted(t *testing.T) {
	m, _ := goGuest(t, wasmhost.Options{Call: 200 * time.Millisecond})
	for _, key := range []string{"spin", "sleep 1h"} {
		b := openModule(t, m, "")
		_, err := get(b, key)
		if want := "plugin go: plinth_get: exceeded limits.call (200ms) and was interrupted"; !errors.Is(err, storage.ErrUnavailable) || err.Error() != want {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
	}
}

// What the opener says of the configuration arrives with its place.
func TestGoGuestRefusesItsConfiguration(t *testing.T) {
	m, _ := goGuest(t, wasmhost.Options{})
	for config, want := range map[string]struct {
		code       storage.Code
		path, text string
	}{
		`{"fail": "because"}`: {storage.InvalidArgument, "fail", "plugin go: it was told to: because (configuration: fail)"},
		`{"fail": "panic"}`:   {storage.Internal, "", "plugin go: panic: boom in open"},
		`{"failed": true}`:    {storage.InvalidArgument, "failed", `plugin go: unknown field "failed"`},
		`{"bytes": "1 acre"}`: {storage.InvalidArgument, "bytes", `plugin go: "1 acre" is not a size`},
		`{"fail": 1}`:         {storage.InvalidArgument, "fail", "plugin go: "},
		`{"fail": `:           {storage.InvalidArgument, "", "plugin go: "},
		`[]`:                  {storage.InvalidArgument, "", "plugin go: "},
	} {
		_, err := m.Open(context.Background(), []byte(config))
		if e := storage.AsError(err); storage.CodeOf(err) != want.code || e.ConfigPath != want.path || !strings.HasPrefix(e.Error(), want.text) {
			t.Errorf("%s: %v, %q: %v", config, storage.CodeOf(err), storage.AsError(err).ConfigPath, err)
		}
	}
	if _, err := get(openModule(t, m, `{"bytes": "1MiB"}`), "x"); err != nil {
		t.Error(err)
	}
}

// matches reports whether text is pattern, in which a * stands for anything.
func matches(text, pattern string) bool {
	before, after, any := strings.Cut(pattern, "*")
	return text == pattern || any && strings.HasPrefix(text, before) && strings.HasSuffix(text, after)
}
