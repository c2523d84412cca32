package storagetest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Outcome is the outcome of a check.
type Outcome uint8

// The outcomes.
const (
	Passed        Outcome = iota
	Failed                // what is wrong is in Result.Text
	NotApplicable         // it says nothing about this backend: Result.Text has why
	Excepted              // it failed, as an exception says: Result.Text has why
)

// String returns the outcome in words.
func (o Outcome) String() string {
	return [...]string{"passed", "failed", "not applicable", "excepted"}[o]
}

// Result holds the outcome of one check.
type Result struct {
	Category, Name string
	Outcome        Outcome
	Text           string
	Took           time.Duration
}

// Run runs every check as a subtest "category/name" of t; with -short all but those
// that are Long.
func Run(t *testing.T, f Factory, exceptions ...Exception) {
	t.Helper()
	k := newKit(f, exceptions)
	defer k.drop(t.Context())
	complete := true
	for _, checks := range byCategory(Checks()) {
		complete = runCategory(t, k, checks) && complete
	}
	if complete { // nothing was left out by -run or -short
		for _, r := range k.exceptions() {
			t.Errorf("%s: %s", r.Name, r.Text)
		}
	}
}

// runCategory reports whether all of checks ran.
func runCategory(t *testing.T, k *kit, checks []Check) bool {
	t.Helper()
	ran := 0
	t.Run(checks[0].Category, func(t *testing.T) {
		for _, c := range checks {
			t.Run(c.Name, func(t *testing.T) {
				switch {
				case c.Long && testing.Short():
					t.Skip("it takes long, and makes one call at a time, of which a race detector learns little: it runs without -short")
				case c.Long && k.f.Again && os.Getenv("PLINTH_KIT") != "whole":
					t.Skip("it takes long, and runs over this backend in another way: PLINTH_KIT=whole runs it here too")
				}
				ran++
				switch r := k.run(t.Context(), c); r.Outcome {
				case Failed:
					t.Errorf("%s\n%s", k.about, r.Text)
				case NotApplicable:
					t.Skip(r.Text)
				case Excepted:
					t.Log(r.Text)
				}
			})
		}
	})
	return ran == len(checks)
}

func byCategory(checks []Check) (groups [][]Check) {
	for _, c := range checks {
		if n := len(groups); n > 0 && groups[n-1][0].Category == c.Category {
			groups[n-1] = append(groups[n-1], c)
			continue
		}
		groups = append(groups, []Check{c})
	}
	return groups
}

// Report runs every check, outside of "go test", and calls each with its result as it
// comes. It returns an error if a backend cannot be opened. The last results, of the
// category "exceptions", are those of exceptions that are not needed.
func Report(ctx context.Context, f Factory, each func(Result), exceptions ...Exception) error {
	b, err := f.Open(ctx)
	if err != nil {
		return fmt.Errorf("the backend cannot be opened: %w", err)
	}
	if err := b.Close(ctx); err != nil {
		return fmt.Errorf("the backend cannot be closed: %w", err)
	}
	k := newKit(f, exceptions)
	defer k.drop(ctx)
	for _, c := range Checks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.Only == nil || f.Only(c.Category, c.Name) {
			each(k.run(ctx, c))
		}
	}
	if f.Only != nil {
		return nil
	}
	for _, r := range k.exceptions() {
		each(r)
	}
	return nil
}

// kit holds one run over one factory.
type kit struct {
	f      Factory
	except []Exception
	used   []bool // of except
	about  string // the backend, for messages
	// With Reuse: a backend that is open, of a check that passed, and the capabilities, to
	// leave out what does not apply without opening one.
	kept  storage.Backend
	caps  storage.Caps
	known bool // caps is
}

func newKit(f Factory, exceptions []Exception) *kit {
	return &kit{f: f, except: exceptions, used: make([]bool, len(exceptions))}
}

// patience limits how long a check may take before it counts as hanging.
const patience = 2 * time.Minute

// run runs one check on a backend of its own.
func (k *kit) run(ctx context.Context, c Check) Result {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r := Result{Category: c.Category, Name: c.Name}
	if missing := c.Needs &^ k.caps; k.known && missing != 0 {
		r.Outcome, r.Text = NotApplicable, "not applicable: "+lacks(missing)
		return r
	}
	start := time.Now()
	t := &T{ctx: ctx, factory: k.f, clock: k.f.Clock}
	done := make(chan struct{})
	reused := false
	go func() {
		defer close(done)
		defer t.finish(func() {
			if k.f.Reuse && !c.Fresh {
				k.keep(t)
			}
		})
		t.labelled()
		if reused = !c.Fresh && k.kept != nil && emptied(t.ctx, k.kept); reused {
			t.use(k.kept, nil)
			k.kept = nil
		} else {
			if !c.Fresh {
				k.drop(t.ctx)
			}
			t.fresh()
		}
		if missing := c.Needs &^ t.info.Caps; missing != 0 {
			t.notApplicable(lacks(missing))
		}
		c.run(t)
	}()
	select {
	case <-done:
		k.about = t.about()
		k.caps, k.known = t.info.Caps, k.f.Reuse && len(t.info.Name) > 0
		if t.lacking != "" {
			r.Outcome, r.Text = NotApplicable, "not applicable: "+t.lacking
		}
	case <-time.After(patience + 10*time.Second):
		t.Errorf("the check hangs:\n%s", stacks())
	}
	r.Took = time.Since(start)
	if t.Failed() {
		r.Outcome, r.Text = k.failed(c, t.text())
		if reused {
			r.Text += "\n(on a backend that other checks have used and emptied)"
		}
	}
	return r
}

// keep leaves the backend of a check that has passed to the next one.
func (k *kit) keep(t *T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failed && len(t.opened) > 0 && k.kept == nil {
		k.kept, t.opened = t.opened[0], t.opened[1:]
	}
}

// drop closes what was kept. Its state is of no interest.
func (k *kit) drop(ctx context.Context) {
	if k.kept != nil {
		_ = k.kept.Close(context.WithoutCancel(ctx))
		k.kept = nil
	}
}

// emptied empties b, and reports whether it could.
func emptied(ctx context.Context, b storage.Backend) bool {
	_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}})
	if err == nil {
		page, unread := b.Scan(ctx, storage.Query{Limit: 1})
		if unread == nil && len(page.Items) == 0 && page.Next == nil {
			return true
		}
	}
	return false
}

// lacks returns why a check does not apply.
func lacks(missing storage.Caps) string {
	return "the backend does not have the capability " + missing.String()
}

// about returns the backend, for messages.
func (t *T) about() string {
	return fmt.Sprintf("backend %s %s", t.info.Name, t.info.Version)
}

// finish makes a failure of a panic, and closes what the check opened and keep leaves.
func (t *T) finish(keep func()) {
	if p := recover(); p != nil {
		t.Errorf("panic: %v\n%s", p, debug.Stack())
	}
	keep()
	t.close()
}

func (k *kit) failed(c Check, text string) (Outcome, string) {
	for i, e := range k.except {
		if e.Reason != "" && e.matches(c) {
			k.used[i] = true
			return Excepted, "excepted: " + e.Reason
		}
	}
	return Failed, text
}

// exceptions returns the failures of exceptions that say nothing.
func (k *kit) exceptions() (bad []Result) {
	for i, e := range k.except {
		err := e.valid()
		if err == nil && !k.used[i] {
			err = fmt.Errorf("the exception of %s is not needed: nothing that it names fails", e)
		}
		if err != nil {
			bad = append(bad, Result{Category: "exceptions", Name: e.String(), Outcome: Failed, Text: err.Error()})
		}
	}
	return bad
}

func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
