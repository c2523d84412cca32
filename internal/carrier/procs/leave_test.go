package procs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// marker names the file that a plugin writes when its backend is closed.
const marker = "PLINTH_TEST_MARKER"

// polite says good bye some time after it was asked to leave.
func polite() {
	stderr := os.Stderr
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		time.Sleep(100 * time.Millisecond)
		fmt.Fprintln(stderr, "good bye")
		os.Exit(0)
	}()
	serveFrames(func(id uint32) []byte { return frame(id, 8) })
}

// flushes is a plugin whose backend talks while it closes, or never ends to.
func flushes(stuck bool) {
	process.Serve(func(_ context.Context, e sdk.Env) (storage.Backend, error) {
		return flushing{moody{}, e.Log, stuck}, nil
	})
}

type flushing struct {
	storage.Backend
	log   *slog.Logger
	stuck bool
}

func (f flushing) Close(context.Context) error {
	f.log.Info("closing")
	fmt.Fprintln(os.Stderr, "closing")
	if f.stuck {
		select {}
	}
	return os.WriteFile(os.Getenv(marker), []byte("closed"), 0o600)
}

// A plugin that was asked to leave is given the time to.
func TestGoesByItself(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var log lines
		o := options(t, "polite")
		o.Plain, o.Log = plain, slog.New(slog.NewTextHandler(&log, nil))
		if err := open(t, o).Close(t.Context()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "good bye") {
			t.Errorf("plain %v: it was killed at once", plain)
		}
	}
}

// A start without a waiting caller ends at once, wherever it is.
func TestStartIsLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, tls := range []bool{false, true} {
		o := options(t, "silent")
		o.Plaintext = !tls
		p := newPlugin(t, o)
		for range 15 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Duration(rand.IntN(20000))*time.Microsecond, cancel)
			start := time.Now()
			if _, err := p.Open(ctx, "", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want that it was left", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Fatalf("it took %s", took)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if n := len(children(t)); n > 0 {
		t.Errorf("%d plugins still run", n)
	}
}

// Close is called while calls come, and by several at once.
func TestCloseAmongCalls(t *testing.T) {
	for range 3 {
		o := options(t, "panics")
		o.Meter = metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
		b := open(t, o)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					if _, err := b.Get(t.Context(), []byte("k")); errors.Is(err, storage.ErrShuttingDown) {
						return
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				time.Sleep(20 * time.Millisecond)
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// Close is bounded also where another one is under way, and where a start hangs.
func TestCloseIsBounded(t *testing.T) {
	o := options(t, "panics")
	o.Stop = 20 * time.Second
	b := open(t, o)
	ctx, leave := context.WithCancel(t.Context())
	waits := make(chan error, 2)
	go func() { _, err := b.Get(ctx, []byte("wait")); waits <- err }()
	time.Sleep(50 * time.Millisecond)
	go func() { waits <- b.Close(context.Background()) }()
	eventually(t, "it takes no calls", func() bool {
		_, err := b.Get(t.Context(), []byte("k"))
		return errors.Is(err, storage.ErrShuttingDown)
	})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another: %v", err)
	}
	leave()
	for range 2 {
		<-waits
	}

	// It starts once, and then no more.
	o = options(t, "durable")
	hangs := filepath.Join(t.TempDir(), "hangs")
	script := filepath.Join(t.TempDir(), "start")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ -e "+hangs+" ] && exec sleep 60\nexec "+o.Command[0]+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Command, o.Env["PATH"] = []string{script}, secret.Copy(os.Getenv("PATH"))
	b = open(t, o)
	if err := os.WriteFile(hangs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	killPlugin(t)
	eventually(t, "it is being started", func() bool { return b.Status().LastLoss != "" && len(children(t)) == 1 })
	start := time.Now()
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if n := len(children(t)); n > 0 {
		t.Errorf("%d plugins still run", n)
	}
}

// spawns is a plugin that has started another process, which outlives it if it may.
func spawns() {
	process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) {
		child := exec.Command("sleep", "600")
		child.Stdout = nil
		if err := child.Start(); err != nil {
			return nil, err
		}
		return moody{}, os.WriteFile(os.Getenv(marker), []byte(strconv.Itoa(child.Process.Pid)), 0o600)
	})
}

// Nothing is left of a plugin and of what it has started, whoever ends first.
func TestChildrenOfPlugins(t *testing.T) {
	gone := func(file string) func() bool {
		return func() bool {
			pid, err := os.ReadFile(file)
			if err != nil {
				return false
			}
			stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		}
	}
	t.Run("host", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		host, out := startHost(t, t.TempDir(), "spawns", file)
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "open <nil>\n" {
			t.Errorf("%q, %v", line, err)
		}
		if gone(file)() {
			t.Fatal("the child does not run: the test says nothing")
		}
		if err := host.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = host.Wait() // it was killed
		eventually(t, "the child has gone", gone(file))
	})
	for name, end := range map[string]func(b *procs.Backend) error{
		"closed": func(b *procs.Backend) error { return b.Close(context.Background()) },
		"killed": func(b *procs.Backend) error { return syscall.Kill(b.PID(), syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "spawns")
			file := filepath.Join(t.TempDir(), "pid")
			o.Env[marker], o.Env["PATH"] = secret.Copy(file), secret.Copy(os.Getenv("PATH"))
			b := open(t, o)
			if err := end(b); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the child has gone", gone(file))
		})
	}
}

// A host that is killed has its plugins close their backends, which may say so to
// nobody, and go although a backend does not close.
func TestHostIsKilledWhileOpen(t *testing.T) {
	for _, name := range []string{"flushes", "stuck"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			closed := filepath.Join(t.TempDir(), "closed")
			host, out := startHost(t, dir, name, closed)
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "open <nil>\n" {
				t.Errorf("%q, %v", line, err)
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait() // it was killed
			eventually(t, "the plugin has gone, with its folder", func() bool { left, _ := os.ReadDir(dir); return len(left) == 0 })
			if _, err := os.Stat(closed); (err == nil) != (name == "flushes") {
				t.Errorf("the backend was closed: %v", err)
			}
		})
	}
}

func startHost(t *testing.T, dir, plugin, closed string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), asPlugin+"=host", "TMPDIR="+dir, hosted+"="+plugin, marker+"="+closed)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	return host, out
}

// A status without an Error is a fault, whatever it is: of a write nobody knows what
// has become.
func TestFaultsOverGRPC(t *testing.T) {
	o := options(t, "exhausted")
	o.Plain = true
	b := open(t, o)
	if err := set(b, "k", "v"); !errors.Is(err, storage.ErrOutcomeUnknown) || !storage.AsError(err).Unknown {
		t.Errorf("a write: %v", err)
	}
	if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrRangeLimit) {
		t.Errorf("a read: %v", err)
	}
}

// An Error that cannot be read may have said that the outcome is unknown.
func TestErrorThatCannotBeRead(t *testing.T) {
	b := open(t, options(t, "cut error"))
	if err := set(b, "k", "v"); !storage.AsError(err).Unknown || storage.AsError(err).Retryable() {
		t.Errorf("a write: %v", err)
	}
	if _, err := b.Get(t.Context(), []byte("k")); storage.CodeOf(err) != storage.Internal || storage.AsError(err).Unknown {
		t.Errorf("a read: %v", err)
	}
}

// What a plugin printed is cut between characters.
func TestLastWordsAreText(t *testing.T) {
	_, err := newPlugin(t, options(t, "shouts")).Open(t.Context(), "", nil)
	if err == nil || !strings.Contains(err.Error(), "é") || !utf8.ValidString(err.Error()) {
		t.Errorf("%q", err)
	}
}
