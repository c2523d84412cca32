package storagetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Checks are named once, in categories that are together.
func TestChecks(t *testing.T) {
	seen, categories, last := map[string]bool{}, map[string]bool{}, ""
	for _, c := range storagetest.Checks() {
		if name := c.Category + "/" + c.Name; seen[name] {
			t.Errorf("there are two checks %s", name)
		} else {
			seen[name] = true
		}
		if c.Category != last && categories[c.Category] {
			t.Errorf("the category %s is in two parts", c.Category)
		}
		last, categories[c.Category] = c.Category, true
	}
	if len(seen) < 150 {
		t.Errorf("only %d checks are left", len(seen))
	}
}

// What -short leaves out is nothing that has several callers.
func TestLongChecks(t *testing.T) {
	n := 0
	for _, c := range storagetest.Checks() {
		if !c.Long {
			continue
		}
		n++
		if slices.Contains([]string{"errors", "idempotency", "atomicity", "concurrency", "linearizability"}, c.Category) {
			t.Errorf("%s/%s has several callers", c.Category, c.Name)
		}
	}
	if n == 0 || n > 14 {
		t.Errorf("%d checks are left out with -short", n)
	}
}

// report is what comes of all checks.
func report(t *testing.T, f storagetest.Factory, exceptions ...storagetest.Exception) map[string]storagetest.Result {
	t.Helper()
	results := map[string]storagetest.Result{}
	err := storagetest.Report(t.Context(), f, func(r storagetest.Result) { results[r.Category+"/"+r.Name] = r }, exceptions...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// sick is a model whose health fails, and which has no expiry.
func sick() storagetest.Factory {
	f := models(everything &^ (storage.CapTTL | storage.CapExpiryOnRead))
	open := f.Open
	f.Open = func(ctx context.Context) (storage.Backend, error) {
		b, err := open(ctx)
		return storagetest.NewFaults(b, storagetest.Fault{Calls: []storagetest.Call{storagetest.CallHealth}, Err: storage.ErrUnavailable}), err
	}
	return f
}

// A failure that is excepted, one that is not, what does not apply, and
// exceptions that say nothing.
func TestReport(t *testing.T) {
	results := report(t, sick(),
		storagetest.Except("health/every_probe_passes", "there is nobody to ask"),
		storagetest.Except("crud", "nothing fails there"),
		storagetest.Except("health/beside_calls", ""),
		storagetest.Except("helth", "misspelt"))
	for _, c := range []struct {
		name    string
		outcome storagetest.Outcome
		text    string
	}{
		{"crud/set_then_get", storagetest.Passed, ""},
		{"health/every_probe_passes", storagetest.Excepted, "nobody to ask"},
		{"health/beside_calls", storagetest.Failed, "unavailable"},
		{"health/changes_nothing", storagetest.Failed, "unavailable"},
		{"ttl/key_expires", storagetest.NotApplicable, "does not have the capability ttl"},
		{"ttl/expiry_is_answered", storagetest.NotApplicable, "ttl,expiry_on_read"},
		{"exceptions/crud", storagetest.Failed, "is not needed"},
		{"exceptions/health/beside_calls", storagetest.Failed, "has no reason"},
		{"exceptions/helth", storagetest.Failed, "matches no check"},
	} {
		if r := results[c.name]; r.Outcome != c.outcome || !strings.Contains(r.Text, c.text) {
			t.Errorf("%s: %s %q, want %s %q", c.name, r.Outcome, r.Text, c.outcome, c.text)
		}
	}
	if _, there := results["exceptions/health/every_probe_passes"]; there {
		t.Errorf("an exception that was needed is reported")
	}
	if n := len(storagetest.Checks()) + 3; len(results) != n {
		t.Errorf("%d results, want %d", len(results), n)
	}
}

func TestReportOfABackendThatDoesNotOpen(t *testing.T) {
	f := storagetest.Factory{Clock: storagetest.NewClock(), Open: func(context.Context) (storage.Backend, error) {
		return nil, storage.ErrUnavailable
	}}
	err := storagetest.Report(t.Context(), f, func(r storagetest.Result) { t.Errorf("%s/%s ran", r.Category, r.Name) })
	if storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("Report: %v", err)
	}
}

// A script of ten thousand steps that fails is shown as the few that matter.
func TestFailingScriptIsShrunk(t *testing.T) {
	f := models(everything)
	open := f.Open
	f.Open = func(ctx context.Context) (storage.Backend, error) {
		b, err := open(ctx)
		p := &planted{Backend: b}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) { // a range delete forgets the keys of "mm/"
			own := *w
			own.Ops = nil
			for _, o := range w.Ops {
				if o.Kind == storage.OpDeleteRange && storage.InRange([]byte("mm/1"), o.Key, o.End) {
					own.Ops = append(own.Ops, storage.DeleteRange(o.Key, []byte("mm/1")), storage.DeleteRange([]byte("mm/3"), o.End))
					continue
				}
				own.Ops = append(own.Ops, o)
			}
			return p.Backend.Apply(ctx, &own)
		}
		return p, err
	}
	for _, name := range []string{"model/long_script", "model/short_scripts"} {
		r := storagetest.RunOne(t.Context(), f, name)
		if r.Outcome != storagetest.Failed {
			t.Fatalf("%s: %s", name, r.Outcome)
		}
		_, script, _ := strings.Cut(r.Text, ":\n")
		script, _, _ = strings.Cut(script, "the model:")
		if n := strings.Count(script, "\n"); n < 2 || n > 5 {
			t.Errorf("%s is shown as %d steps:\n%s", name, n, r.Text)
		}
	}
}

// What others of the process start while a check counts goroutines is not the backend's.
func TestGoroutinesOfOthers(t *testing.T) {
	start, started, wait := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(wait)
	defer close(start)
	go func() {
		for range start {
			go func() { started <- struct{}{}; <-wait }()
		}
	}()
	f := models(everything)
	f.Settle = func() { start <- struct{}{}; <-started }
	if r := storagetest.RunOne(t.Context(), f, "leaks/goroutines"); r.Outcome != storagetest.Passed {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
}
