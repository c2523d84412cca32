package storagetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelChecks run the same script on the backend and on the model: equal output.
func modelChecks() []Check {
	return in("model",
		long("short_scripts", 0, shortScripts),
		long("long_script", 0, longScript),
	)
}

// shortScripts are many, made and shrunk by rapid. Outside of "go test" rapid
// does not work; there the long script says the same.
func shortScripts(t *T) {
	if !testing.Testing() || !flag.Parsed() {
		t.notApplicable("rapid works under go test only")
	}
	script := rapid.SliceOf(rapid.SliceOf(rapid.SliceOf(anyStep(t.info))))
	rapid.Check(rapidTB{t}, func(r *rapid.T) {
		var steps []step
		for _, parts := range script.Draw(r, "script") {
			for _, part := range parts {
				steps = append(steps, part...)
			}
		}
		if at, want, got := t.difference(steps); at >= 0 {
			r.Fatalf("the backend and the model differ:\n%s", showScript(steps[:at+1], want, got))
		}
	})
}

// longScript runs one script of as many steps as the factory wants, at least 10,000.
func longScript(t *T) { t.script(0, t.factory.ops()) }

// Script runs one random script of so many steps on a fresh backend and on the
// model, and returns where they differ, if they do, with a short script that shows it.
// One seed is one script. It is for tests that try many backends, such as pipelines
// that are drawn at random; [Run] has scripts of its own.
func Script(ctx context.Context, f Factory, seed, steps int) error {
	r := newKit(f, nil).run(ctx, Check{Category: "model", Name: "script", run: func(t *T) { t.script(seed, steps) }})
	if r.Outcome == Failed {
		return errors.New(r.Text)
	}
	return nil
}

// script returns the random one of a seed.
func (t *T) script(seed, n int) {
	steps := make([]step, n)
	any := anyStep(t.info)
	for i := range steps {
		steps[i] = any.Example(seed<<20 + i + 1)
	}
	at, want, got := t.difference(steps)
	if at < 0 {
		return
	}
	small := shrink(steps[:at+1], 30*time.Second, func(s []step) bool {
		at, _, _ := t.difference(s)
		return at >= 0
	})
	if again, w, g := t.difference(small); again >= 0 {
		small, want, got = small[:again+1], w, g
	}
	t.Fatalf("the backend and the model differ at step %d; a shorter script that shows it:\n%s", at, showScript(small, want, got))
}

func showScript(script []step, want, got string) string {
	var b strings.Builder
	for i, s := range script {
		fmt.Fprintf(&b, "%4d  %s\n", i+1, s)
	}
	fmt.Fprintf(&b, "      the model:   %s\n      the backend: %s", want, got)
	if w, g, differ := firstDifference(want, got); differ {
		fmt.Fprintf(&b, "\n      where they differ: the model has %s, the backend %s", w, g)
	}
	return b.String()
}

// firstDifference returns the first item that differs of two answers with several.
func firstDifference(want, got string) (w, g string, differ bool) {
	wants, gots := strings.Split(want, "; "), strings.Split(got, "; ")
	if len(wants) < 3 && len(gots) < 3 {
		return "", "", false
	}
	item := func(all []string, i int) string {
		if i >= len(all) || all[i] == "" {
			return "nothing"
		}
		return all[i]
	}
	for i := range max(len(wants), len(gots)) {
		if w, g := item(wants, i), item(gots, i); w != g {
			return w, g, true
		}
	}
	return "", "", false
}

// rapidTB adapts a T to rapid.
type rapidTB struct{ *T }

func (rapidTB) Helper()                    {}
func (rapidTB) Name() string               { return "storagetest" }
func (r rapidTB) Log(args ...any)          { r.Logf("%s", fmt.Sprint(args...)) }
func (r rapidTB) Skipf(f string, a ...any) { r.Fatalf(f, a...) }
func (r rapidTB) Skip(args ...any)         { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r rapidTB) SkipNow()                 { r.Fatalf("skipped") }
func (r rapidTB) Error(args ...any)        { r.Errorf("%s", fmt.Sprint(args...)) }
func (r rapidTB) Fatal(args ...any)        { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r rapidTB) FailNow()                 { r.Fatalf("rapid found a failing script") }
func (r rapidTB) Fail()                    { r.Errorf("rapid found a failing script") }
