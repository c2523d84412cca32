package procs_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// The system ends a plugin before its host when memory is short, and refuses it more than
// its limit.
func TestMemoryOfProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system has no such thing")
	}
	o := options(t, "panics")
	o.Limit = 2 << 30
	b := open(t, o)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", b.PID()))
	if err != nil {
		t.Fatal(err)
	}
	mine, _ := strconv.Atoi(strings.TrimSpace(string(own)))
	if got, _ := strconv.Atoi(strings.TrimSpace(string(theirs))); got <= mine && mine < 1000 {
		t.Errorf("oom_score_adj is %d, and the host's %d", got, mine)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", b.PID()))
	if err != nil || !regexp.MustCompile(`Max data size +2147483648 +2147483648`).Match(limits) {
		t.Errorf("%s, %v", limits, err)
	}
}

// A limit that is too small for the start is reported as such, at its setting, however
// the program ends; and so is one that is reached later. Without a limit nothing is said of it.
func TestLimitOfMemoryIsTooSmall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system has no such thing")
	}
	for name, c := range map[string]struct {
		script string // "": the plugin itself
		limit  uint64
		named  bool
	}{
		"a runtime that faults":  {"", 1 << 20, true},
		"a fault":                {"kill -SEGV $$", 1 << 30, true},
		"words of Go":            {"echo 'fatal error: runtime: out of memory' >&2; exit 2", 1 << 30, true},
		"words before many":      {"echo 'runtime/cgo: pthread_create failed: Resource temporarily unavailable' >&2; for i in 1 2 3 4 5 6 7 8 9 10; do echo r$i >&2; done; exit 2", 1 << 30, true},
		"words of C++":           {"echo 'terminate called after throwing: std::bad_alloc' >&2; kill -ABRT $$", 1 << 30, true},
		"words of Python":        {"echo 'MemoryError' >&2; exit 1", 1 << 30, true},
		"another end":            {"echo 'no license' >&2; exit 3", 1 << 30, false},
		"a fault without limits": {"kill -SEGV $$", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "memory")
			o.Limit = c.limit
			if c.script != "" {
				o.Command, o.Env["PATH"] = []string{"/bin/sh", "-c", c.script}, secret.Copy(os.Getenv("PATH"))
			}
			_, err := newPlugin(t, o).Open(t.Context(), "", nil)
			var about *carrier.FieldError
			if err == nil || errors.As(err, &about) != c.named {
				t.Fatalf("%v, at a setting: %v", err, about)
			}
			if want := fmt.Sprintf("limits.memory is %d bytes, too little for the plugin to start", c.limit); c.named && (about.Path != "limits.memory" || !strings.Contains(err.Error(), want)) {
				t.Errorf("at %s: %v, want %s", about.Path, err, want)
			}
		})
	}
	o := options(t, "panics")
	o.Limit = 2 << 30
	b := open(t, o)
	if _, err := b.Get(t.Context(), []byte("exhaust")); !errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
	eventually(t, "the limit is named", func() bool {
		return strings.Contains(b.Status().LastLoss, "out of memory (limits.memory is 2147483648 bytes)")
	})
}
