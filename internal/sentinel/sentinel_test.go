package sentinel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/sentinel"
)

type config struct {
	Name  string
	Wait  time.Duration
	Plane string
	Env   map[string]string
	Args  []string
	Inner struct {
		On   bool
		Rate float64
	}
	Rules  []rule
	Quotas map[string]rule
}

type rule struct{ Delay, Times int }

// A field that is copied to nowhere is found, wherever it is.
func TestIgnored(t *testing.T) {
	base := config{Rules: []rule{{}}, Quotas: map[string]rule{"a": {}}}
	others := map[string]any{"Plane": "grpc"}
	whole := func(c config) any { c.Plane = map[bool]string{true: "frames"}[c.Plane == "grpc"]; return &c }
	if got := sentinel.Ignored(base, others, whole); len(got) > 0 {
		t.Errorf("all is copied, and %q is told to be ignored", got)
	}
	type built struct {
		name  any
		rules []rule
		f     func()
	}
	got := sentinel.Ignored(base, others, func(c config) any {
		return built{c.Name, []rule{{Delay: c.Rules[0].Delay + c.Quotas["a"].Times}}, func() {}}
	})
	if want := []string{"Args", "Env", "Inner.On", "Inner.Rate", "Plane", "Quotas.Delay", "Rules.Times", "Wait"}; !slices.Equal(got, want) {
		t.Errorf("%q is told to be ignored, want %q", got, want)
	}
}

// What differs by itself says nothing about a field.
func TestNoise(t *testing.T) {
	builds := 0
	got := sentinel.Ignored(rule{}, nil, func(r rule) any { builds++; return [2]int{builds, r.Delay} })
	if want := []string{"Times"}; !slices.Equal(got, want) {
		t.Errorf("%q is told to be ignored, want %q", got, want)
	}
}

// A test that could not fail is refused.
func TestIgnoredPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"no such field": func() { sentinel.Ignored(rule{}, map[string]any{"No": 1}, func(r rule) any { return r }) },
		"no element":    func() { sentinel.Ignored(config{}, nil, func(c config) any { return c }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
