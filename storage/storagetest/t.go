package storagetest

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// T gives a check its backend, and collects its failures. Its methods may be called from
// several goroutines at once, but for Fatalf, which ends the check's own.
type T struct {
	ctx     context.Context
	number  uint64 // of the check, among those of the process
	label   string // of the check's goroutines
	factory Factory
	clock   *Clock
	b       storage.Backend
	s       *storage.Store // over b
	info    storage.Info

	mu      sync.Mutex
	log     []string
	failed  bool
	lacking string // why the check does not apply, or "" if it does
	opened  []storage.Backend
	scratch storage.Backend // of scripts, where backends are used again; one of opened
	scripts uint64          // that ran
}

// Logf notes something that is shown if the check fails.
func (t *T) Logf(format string, args ...any) { t.note(format, args) }

// Errorf notes what is wrong and goes on.
func (t *T) Errorf(format string, args ...any) {
	t.note(format, args)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
}

// Fatalf notes what is wrong and ends the check.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// notApplicable ends a check that says nothing about this backend, and why.
func (t *T) notApplicable(reason string) {
	t.mu.Lock()
	t.lacking = reason
	t.mu.Unlock()
	runtime.Goexit()
}

// Failed reports whether something was wrong so far.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// maxNotes bounds what a check that fails in a loop says.
const maxNotes = 40

func (t *T) note(format string, args []any) {
	line := place() + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(t.log) < maxNotes:
		t.log = append(t.log, line)
	case len(t.log) == maxNotes:
		t.log = append(t.log, "… and more of it")
	}
}

// place returns the file and line of the check that says something: the innermost
// frame that is neither here nor in what checks share.
func place() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for {
		f, more := frames.Next()
		if base := filepath.Base(f.File); base != "t.go" && base != "expect.go" {
			return fmt.Sprintf("%s:%d: ", base, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// use makes b the backend of the check, to be closed at its end.
func (t *T) use(b storage.Backend, err error) {
	if err != nil {
		t.Fatalf("the backend cannot be opened: %v", err)
	}
	t.mu.Lock()
	t.opened = append(t.opened, b)
	t.mu.Unlock()
	t.b, t.s, t.info = b, storage.New(b, storage.Settings{Clock: t.clock.Now}), b.Info()
}

// fresh gives the check another backend, empty as the first was.
func (t *T) fresh() { t.use(t.factory.Open(t.ctx)) }

// restart closes the backend and opens it again, a second later.
func (t *T) restart() {
	if err := t.b.Close(t.ctx); err != nil {
		t.Fatalf("Close: %v", err)
	}
	t.clock.Advance(time.Second)
	t.use(t.factory.reopen(t.ctx))
}

// close closes every backend that the check had.
func (t *T) close() {
	t.mu.Lock()
	opened := t.opened
	t.mu.Unlock()
	ctx := context.WithoutCancel(t.ctx)
	for _, b := range opened {
		if err := b.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// text returns what was noted.
func (t *T) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.log, "\n")
}

// has reports whether the backend has a capability.
func (t *T) has(c storage.Caps) bool { return t.info.Caps.Has(c) }
