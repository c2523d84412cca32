package ledger_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

func inRegion(c *ledger.Config) { c.PreferredRegion = ledgertest.Region }

// asked counts the requests that each node gets, but for those about the leader,
// which before may refuse.
func asked(c *ledgertest.Cluster, resolving *atomic.Int64, before func(*ledgertest.Node) error) func(endpoint string) int64 {
	counts := map[string]*atomic.Int64{}
	for _, e := range c.Endpoints() {
		counts[e] = new(atomic.Int64)
	}
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, n *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/ResolveRegionLeader") {
			resolving.Add(1)
			if before != nil {
				return before(n)
			}
			return nil
		}
		counts[n.Endpoint()].Add(1)
		return nil
	}})
	return func(endpoint string) int64 { return counts[endpoint].Load() }
}

// With a region the leader is found before anything is sent to another, also one
// that the configuration does not name.
func TestPreferredRegion(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	c.Lead(2)
	var resolving atomic.Int64
	count := asked(c, &resolving, nil)
	b := open(t, c, inRegion, func(l *ledger.Config) { l.Endpoints = c.Endpoints()[:1] })
	apply(t, b, storage.Put(bs("k"), bs("v")))
	wantValue(t, b, "k", "v")
	if first, leader := count(c.Endpoints()[0]), count(c.Endpoints()[2]); first != 0 || leader != 3 { // the start's, a write, a read
		t.Errorf("the node that is named was asked %d times, the leader %d", first, leader)
	}
	if n := resolving.Load(); n != 1 {
		t.Errorf("the leader was asked for %d times", n)
	}
	// When the answer is out of date, another leader is found although the old one
	// would answer reads.
	c.Lead(0)
	b.ForgetLeader()
	wantValue(t, b, "k", "v")
	if first, old := count(c.Endpoints()[0]), count(c.Endpoints()[2]); first != 1 || old != 3 {
		t.Errorf("the new leader was asked %d times, the old one %d", first, old)
	}
}

// Where no node names the leader, calls find it as without a region.
func TestPreferredRegionThatIsNotTold(t *testing.T) {
	for name, refusal := range map[string]error{
		"an older server":  ledgertest.Refuse(codes.Unimplemented, "3209", "unknown method"),
		"another region":   ledgertest.Refuse(codes.NotFound, "3102", "region not found"),
		"no leader so far": ledgertest.Refuse(codes.Unavailable, "2001", "leader unknown"),
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{Nodes: 3})
			c.Lead(1)
			var resolving atomic.Int64
			asked(c, &resolving, func(*ledgertest.Node) error { return refusal })
			var log bytes.Buffer
			begin := time.Now()
			b, err := ledger.New(t.Context(), settings(c, inRegion), sdk.Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close(t.Context())
			apply(t, b, storage.Put(bs("k"), bs("v")))
			wantValue(t, b, "k", "v")
			if n, most := resolving.Load(), 1+int64(time.Since(begin)/time.Second); n < 1 || n > most { // and not with every call
				t.Errorf("the leader was asked for %d times", n)
			}
			if told := strings.Contains(log.String(), "does not say who leads"); told == (name == "no leader so far") {
				t.Errorf("the log is %q", log.String())
			}
		})
	}
}

// A node that hangs when it is asked for the leader takes one attempt's time.
func TestPreferredRegionOfANodeThatHangs(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	c.Lead(1)
	b := open(t, c, inRegion, quickly)
	apply(t, b, storage.Put(bs("k"), bs("v")))
	c.Node(1).Hang()
	c.Lead(2)
	apply(t, b, storage.Put(bs("k"), bs("w")))
	wantValue(t, b, "k", "w")
	c.Node(1).Resume()
}

// A request that went by what is no longer so is sent to where it belongs.
func TestRoutedByWhatIsOutOfDate(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c)
	for _, method := range []string{"/Write", "/Read"} {
		c.Lead(0)
		apply(t, b, storage.Put(bs("k"), bs("v")))
		c.Lead(2)
		c.Hook(ledgertest.Hooks{Before: once(method, func(*ledgertest.Node) error {
			return ledgertest.Refuse(codes.FailedPrecondition, "3103", "stale routing").Leader(c.Node(2).Endpoint()).Retryable()
		})})
		apply(t, b, storage.Put(bs("k"), bs("w")))
		wantValue(t, b, "k", "w")
		c.Hook(ledgertest.Hooks{})
	}
}

// A server that shows a vault only to its members is asked as an administrator does,
// and a pair that does not belong together is found out all the same.
func TestVaultIsShownToAdministratorsOnly(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/GetVault") {
			return ledgertest.Refuse(codes.InvalidArgument, "3203", "Missing caller")
		}
		return nil
	}})
	open(t, c)
	_, err := ledger.New(t.Context(), settings(c, func(l *ledger.Config) { l.Vault = ledgertest.OtherVault }), sdk.Env{})
	if e := wantCode(t, err, storage.InvalidArgument); e.ConfigPath != "vault" || !strings.Contains(e.Error(), "does not belong to the organization") {
		t.Errorf("at %q: %v", e.ConfigPath, e)
	}
	_, err = ledger.New(t.Context(), settings(c, func(l *ledger.Config) { l.Caller = 7 }), sdk.Env{})
	wantCode(t, err, storage.Serialization) // it knows who asks, and means something else
}
