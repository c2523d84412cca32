package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/faults"
)

func open(t *testing.T, c faults.Config) (s, below *storage.Store) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	b, err := faults.New(m, c, wrappers.Settings{Stage: "faults"})
	if err != nil {
		t.Fatal(err)
	}
	return storage.New(b, storage.Settings{}), storage.New(m, storage.Settings{})
}

func TestWhatIsStruck(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name string
		rule faults.Rule
		want string // the calls that fail
	}{
		{"all", faults.Rule{}, "get many scan set delete clear health"},
		{"reads", faults.Rule{Calls: []string{"get", "scan"}}, "get scan"},
		{"by prefix", faults.Rule{Prefix: "k"}, "get many scan set delete clear"},
		{"by a prefix of no key, but within ranges", faults.Rule{Prefix: "other"}, "scan clear"},
		{"a range over the prefix", faults.Rule{Prefix: "m"}, "scan clear"},
	} {
		c.rule.Rate, c.rule.Error = 1, "unavailable"
		s, _ := open(t, faults.Config{Rules: []faults.Rule{c.rule}})
		var failed []string
		note := func(name string, err error) {
			if errors.Is(err, storage.ErrUnavailable) {
				failed = append(failed, name)
			}
		}
		_, err := s.Get(ctx, []byte("key"))
		note("get", err)
		_, err = s.GetMany(ctx, [][]byte{[]byte("a"), []byte("key")})
		note("many", err)
		for _, err := range s.Range(ctx, []byte("k"), []byte("z"), storage.RangeOptions{}) {
			note("scan", err)
		}
		note("set", s.Set(ctx, []byte("key"), nil))
		note("delete", s.Delete(ctx, []byte("key")))
		note("clear", errOf(s.ClearRange(ctx, nil, nil)))
		_, err = s.Health(ctx, storage.Readiness)
		note("health", err)
		if got := strings.Join(failed, " "); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// A write that was applied all the same has an unknown outcome; one that was
// not, has not.
func TestApplied(t *testing.T) {
	ctx, key := t.Context(), []byte("k")
	for _, applied := range []bool{false, true} {
		s, below := open(t, faults.Config{Rules: []faults.Rule{{Rate: 1, Error: "timeout", Applied: applied}}})
		err := s.Set(ctx, key, []byte("v"))
		e := storage.AsError(err)
		if e.Code != storage.Timeout || e.Unknown != applied {
			t.Errorf("applied %v: %v", applied, err)
		}
		if _, err := below.Get(ctx, key); (err == nil) != applied {
			t.Errorf("applied %v: below there is %v", applied, err)
		}
	}
	s, _ := open(t, faults.Config{Rules: []faults.Rule{{Rate: 1, Error: "outcome_unknown"}}})
	if e := storage.AsError(s.Set(ctx, key, nil)); !e.Unknown {
		t.Errorf("%v", e)
	}
}

// The same seed gives the same faults, and the rate is kept.
func TestRateAndSeed(t *testing.T) {
	run := func(seed uint64) (pattern string, failed int) {
		s, _ := open(t, faults.Config{Seed: seed, Rules: []faults.Rule{{Rate: 0.3, Error: "internal"}}})
		for range 1000 {
			if err := s.Set(t.Context(), []byte("k"), nil); err != nil {
				failed++
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern, failed
	}
	first, failed := run(7)
	if again, _ := run(7); again != first {
		t.Error("one seed, two patterns")
	}
	if other, _ := run(8); other == first {
		t.Error("two seeds, one pattern")
	}
	if failed < 250 || failed > 350 {
		t.Errorf("%d of 1000 failed at a rate of 0.3", failed)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, faults.Config{Rules: []faults.Rule{{Rate: 1, Delay: time.Second}}})
		start := time.Now()
		if err := s.Set(t.Context(), []byte("k"), nil); err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		rule faults.Rule
		want string
	}{
		{faults.Rule{Rate: 1}, "rules[0]: must set delay, error or both"},
		{faults.Rule{Error: "unavailable"}, "rules[0].rate"},
		{faults.Rule{Rate: 2, Error: "unavailable"}, "rules[0].rate"},
		{faults.Rule{Rate: 1, Error: "nonsense"}, `rules[0].error: unknown error "nonsense"`},
		{faults.Rule{Rate: 1, Error: "ok"}, "rules[0].error"},
		{faults.Rule{Rate: 1, Delay: -1}, "rules[0].delay"},
		{faults.Rule{Rate: 1, Delay: 1, Applied: true}, "rules[0].applied"},
		{faults.Rule{Rate: 1, Delay: 1, Calls: []string{"set"}}, "rules[0].calls[0]"},
	} {
		err := faults.Config{Rules: []faults.Rule{c.rule}}.Validate()
		if !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: %v, want %s", c.rule, err, c.want)
		}
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
