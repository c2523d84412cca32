package procs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Close takes no more calls, waits for those in flight, and has the plugin flush;
// what does not end in time is killed.
func TestClose(t *testing.T) {
	o := options(t, "panics")
	b := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() { _, err := b.Get(ctx, []byte("wait")); waits <- err }()
	time.Sleep(50 * time.Millisecond)
	closed := make(chan error, 1)
	go func() { closed <- b.Close(context.Background()) }()
	eventually(t, "it takes no calls", func() bool {
		_, err := b.Get(t.Context(), []byte("k"))
		return errors.Is(err, storage.ErrShuttingDown)
	})
	select {
	case err := <-closed:
		t.Fatalf("it is closed before the call has ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Errorf("again: %v", err)
	}
	if s := b.Status(); s.State != supervise.Stopped {
		t.Errorf("%+v", s)
	}

	o.Stop = 200 * time.Millisecond
	b = open(t, o)
	go func() { _, err := b.Get(context.Background(), []byte("hang")); waits <- err }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := b.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "calls in flight did not end in time") {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second { // less than the default
		t.Errorf("it takes %s to stop, of %s", took, o.Stop)
	}
	if err := <-waits; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the call in flight: %v", err)
	}
	eventually(t, "nothing runs", func() bool { return len(children(t)) == 0 })
}

// What a plugin has started ends with it, and its output is not waited for.
func TestForks(t *testing.T) {
	for _, name := range []string{"forks", "detaches"} {
		t.Run(name, func(t *testing.T) {
			var log lines
			o := options(t, name)
			o.Env["PATH"] = secret.Copy(os.Getenv("PATH"))
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			b := open(t, o)
			var child int
			eventually(t, "it has told of its child", func() bool {
				m := regexp.MustCompile(`child (\d+)`).FindStringSubmatch(log.String())
				if m != nil {
					child, _ = strconv.Atoi(m[1])
				}
				return m != nil
			})
			start := time.Now()
			for _, pid := range children(t) {
				if pid != child {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			eventually(t, "its end was noticed", func() bool { return b.Status().State == supervise.Failed })
			if took := time.Since(start); took > 2500*time.Millisecond {
				t.Errorf("its end was noticed after %s", took)
			}
			if name == "forks" {
				eventually(t, "its child is gone", func() bool { return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || zombie(child) })
			}
		})
	}
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// lines is a log that can be looked at.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// hosted says to beHost which plugin it has.
const hosted = "PLINTH_TEST_HOSTED"

// beHost is a host in a process of its own, that is killed.
func beHost() {
	self, err := os.Executable()
	if err == nil {
		var p *procs.Plugin
		if p, err = procs.New(procs.Options{Name: os.Getenv(hosted), Command: []string{self}, Env: carrier.EnvOf(map[string]string{asPlugin: os.Getenv(hosted), marker: os.Getenv(marker), "PATH": os.Getenv("PATH")})}); err == nil {
			_, err = p.Open(context.Background(), "", nil)
		}
	}
	fmt.Println("open", err)
	time.Sleep(time.Hour)
}

// A host that is killed leaves nothing behind: its plugins notice, and go.
func TestHostIsKilled(t *testing.T) {
	dir := t.TempDir()
	host, out := startHost(t, dir, "memory", "")
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "open <nil>\n" {
		t.Errorf("%q, %v", line, err)
	}
	if left, _ := os.ReadDir(dir); len(left) == 0 {
		t.Error("the plugin has no folder: the test says nothing")
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	start := time.Now()
	eventually(t, "the plugin has gone, with its folder", func() bool { left, _ := os.ReadDir(dir); return len(left) == 0 })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the plugin went after %s", took)
	}
}

// Starting and ending, by a word or from outside, leaves memory, descriptors,
// goroutines and files where they were.
func TestLeavesNothing(t *testing.T) {
	cycles := 240
	if testing.Short() {
		cycles = 24
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	p := newPlugin(t, options(t, "memory"))
	cycle := func(i int) {
		b, err := p.Open(t.Context(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Fatal(err)
		}
		if i%4 == 0 {
			killPlugin(t)
		}
		if err := b.Close(context.Background()); err != nil && i%4 != 0 {
			t.Fatal(err)
		}
	}
	weigh := func() (fds, goroutines int, heap uint64) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.GC() // for pools, which keep things over one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return len(open), runtime.NumGoroutine(), m.HeapAlloc
	}
	for i := range 8 {
		cycle(i)
	}
	fds, goroutines, heap := weigh()
	for i := range cycles {
		cycle(i)
	}
	eventually(t, "descriptors and goroutines are as before", func() bool {
		f, g, _ := weigh()
		return f <= fds && g <= goroutines
	})
	if _, _, after := weigh(); after > heap+1<<20 { // 4 KiB a cycle
		t.Errorf("%d bytes of heap are in use, %d before", after, heap)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if n := len(children(t)); n > 0 {
		t.Errorf("%d plugins still run", n)
	}
}
