package isolate_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// asHost has the test program compile by a worker that does not end.
const asHost = "PLINTH_ISOLATE_TEST_HOST"

func init() {
	if os.Getenv(asHost) != "" {
		compile := isolate.Compiler([]string{"sleep", "600"}, isolate.Bounds{Memory: 1 << 30, Time: time.Hour})
		fmt.Println(compile(context.Background(), wasmhost.CompileJob{}))
		os.Exit(1)
	}
}

// childrenOf are the processes that a process has started.
func childrenOf(pid int) []string {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []string
	for _, list := range lists {
		b, _ := os.ReadFile(list) // the thread may have ended
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 s it is not so that %s", what)
		}
	}
}

// A worker that compiles does not survive a host that is killed.
func TestCompilerEndsWithItsHost(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), asHost+"=1")
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var worker string
	eventually(t, "a worker runs", func() bool {
		for _, pid := range childrenOf(host.Process.Pid) {
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			if strings.TrimSpace(string(name)) == "sleep" {
				worker = pid
			}
		}
		return worker != ""
	})
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	eventually(t, "the worker has gone", func() bool {
		stat, err := os.ReadFile("/proc/" + worker + "/stat")
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

// When memory is short, the system ends a worker that compiles before anything else.
func TestCompilerIsExpendable(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := wasmhost.NewRuntime(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	r.CompileBy(isolate.Compiler([]string{self}, isolate.Bounds{Memory: 4 << 30, Time: time.Minute}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.Load(ctx, alive(100_000), wasmhost.Options{Name: "acme", Log: slog.New(slog.DiscardHandler)}) // it is left
	}()
	eventually(t, "a worker says that it is expendable", func() bool {
		for _, pid := range childrenOf(os.Getpid()) {
			if b, _ := os.ReadFile("/proc/" + pid + "/oom_score_adj"); strings.TrimSpace(string(b)) == "1000" {
				return true
			}
		}
		return false
	})
	cancel()
	<-done
}
