package ledger_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
)

// tried is what a trial finds that does not hold, by check; all that it wrote is gone.
func tried(t *testing.T, c *ledgertest.Cluster) map[string]ledger.Finding {
	t.Helper()
	findings, err := ledger.Trial{Config: settings(c, quickly)}.Quickly().Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != 12 {
		t.Errorf("there are %d findings", len(findings))
	}
	other := map[string]ledger.Finding{}
	for _, f := range findings {
		if f.Verdict != ledger.TrialHolds {
			other[f.Check] = f
		}
	}
	for _, e := range c.Stored(ledgertest.Vault) {
		if !strings.HasPrefix(e.Key, "_audit") && e.GetExpiresAt() == 0 { // others are the server's to remove
			t.Fatalf("%s is left", e.Key)
		}
	}
	return other
}

func TestTrial(t *testing.T) {
	t.Parallel()
	if other := tried(t, cluster(t, ledgertest.Options{Nodes: 3})); len(other) > 0 {
		t.Errorf("%+v", other)
	}
}

// The trial finds the largest value that is stored, and breaks where max_value is more.
func TestTrialFindsTheLargestValue(t *testing.T) {
	t.Parallel()
	for most, verdict := range map[int]ledger.Verdict{8 << 10: ledger.TrialHolds, 20_000: ledger.TrialBreaks} {
		c := cluster(t, ledgertest.Options{})
		config := settings(c, func(l *ledger.Config) { l.MaxValue = sdk.Size(most) })
		ctx, cancel := context.WithCancel(t.Context())
		var size ledger.Finding
		_, err := ledger.Trial{Config: config, Each: func(f ledger.Finding) {
			if strings.Contains(f.Check, "max_value") {
				size = f
				cancel()
			}
		}}.Run(ctx)
		if err == nil || size.Verdict != verdict || !strings.Contains(size.Text, "Page is full") || !strings.Contains(size.Text, "of up to 15") && !strings.Contains(size.Text, "of up to 16") {
			t.Errorf("%d: %+v, %v", most, size, err)
		}
	}
}

// A single node has no other to forward requests to, which is no fault.
func TestTrialOfOneNode(t *testing.T) {
	t.Parallel()
	other := tried(t, cluster(t, ledgertest.Options{}))
	if len(other) != 1 || other["a node that does not lead says who does"].Verdict != ledger.TrialOpen {
		t.Errorf("%+v", other)
	}
}

// What is wrong with a cluster is found and reported.
func TestTrialFinds(t *testing.T) {
	for name, bad := range map[string]struct {
		change      func(*ledgertest.Cluster)
		options     ledgertest.Options
		check, says string
	}{
		"a leader that nobody reaches": {func(c *ledgertest.Cluster) { c.Node(0).Advertise("http://127.0.0.1:1") }, ledgertest.Options{},
			"a node that does not lead says who does", "--advertise"},
		"followers that say nothing": {func(*ledgertest.Cluster) {}, ledgertest.Options{Quirks: without(func(q *ledgertest.Quirks) { q.Redirect = false })},
			"", ""}, // they pass it on, which is as good
		"a node that is cut off": {func(c *ledgertest.Cluster) {
			c.Hook(ledgertest.Hooks{After: afterEach("/CreateVault", c.Node(2).Isolate)})
		}, ledgertest.Options{},
			"every node answers reads of what was just written", "earlier state"},
		"a clock that is ahead": {func(*ledgertest.Cluster) {}, ledgertest.Options{Clock: func() time.Time { return time.Now().Add(time.Hour) }},
			"items expire, and their neighbors stay", "clocks"},
		"a clock that is behind": {func(*ledgertest.Cluster) {}, ledgertest.Options{Clock: func() time.Time { return time.Now().Add(-time.Hour) }},
			"items expire, and their neighbors stay", "clocks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad.options.Nodes = 3
			c := cluster(t, bad.options)
			bad.change(c)
			other := tried(t, c)
			if f := other[bad.check]; bad.check != "" && (f.Verdict != ledger.TrialBreaks || !strings.Contains(f.Text, bad.says)) {
				t.Errorf("%+v", other)
			}
			for check, f := range other {
				if check != bad.check && f.Verdict == ledger.TrialBreaks && !strings.Contains(name, "cut off") {
					t.Errorf("also: %+v", f)
				}
			}
		})
	}
}

// A trial that is left in the middle removes what it wrote.
func TestTrialIsCancelled(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	trial := ledger.Trial{Config: settings(c), Each: func(f ledger.Finding) {
		if strings.Contains(f.Check, "in order") {
			cancel()
		}
	}}
	if _, err := trial.Run(ctx); err == nil {
		t.Error("it came to its end")
	}
	for _, e := range c.Stored(ledgertest.Vault) {
		if !strings.HasPrefix(e.Key, "_audit") {
			t.Fatalf("%s is left", e.Key)
		}
	}
}
