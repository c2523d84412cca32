package ledger_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

// impatient counts waits and does not wait.
func impatient(n *atomic.Int64) func(context.Context, time.Duration) error {
	return func(ctx context.Context, _ time.Duration) error { n.Add(1); return ctx.Err() }
}

func TestBootstrap(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3, Uninitialized: true})
	c.Lead(2)
	var waits atomic.Int64
	var told []string
	// Organizations take their time to settle.
	refused := 0
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/CreateVault") {
			if refused++; refused < 4 {
				return ledgertest.Refuse([]codes.Code{codes.NotFound, codes.FailedPrecondition, codes.Unavailable}[refused%3], "3100", "not yet")
			}
		}
		return nil
	}})
	done, err := ledger.Bootstrap(t.Context(), ledger.BootstrapOptions{Endpoints: c.Endpoints(), Pause: impatient(&waits), Tell: func(s string) { told = append(told, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if done.Organization == 0 || done.Vault == 0 || done.User == 0 || done.Region != "us-east-va" || len(told) != 5 {
		t.Errorf("it is %+v, %q", done, told)
	}
	b := open(t, c, func(c *ledger.Config) { c.Organization, c.Vault = done.Organization, done.Vault })
	apply(t, b, storage.Put(bs("k"), bs("v")))
	wantValue(t, b, "k", "v")
	// Once more it is another organization, and the same slug is the same vault.
	again, err := ledger.Bootstrap(t.Context(), ledger.BootstrapOptions{Endpoints: c.Endpoints(), Pause: impatient(&waits)})
	if err != nil || again.Organization == done.Organization || again.Vault == done.Vault {
		t.Errorf("again it is %+v, %v", again, err)
	}
}

func TestBootstrapThatFails(t *testing.T) {
	for name, bad := range map[string]struct {
		before func(method string) error
		email  string
		code   storage.Code
		says   string
	}{
		"no blinding key":         {func(m string) error { return on(m, "/InitiateEmailVerification", codes.FailedPrecondition) }, "", storage.Internal, "--email-blinding-key"},
		"an e-mail without a dot": {nil, "me@localhost", storage.Serialization, "rejected the request as invalid"},
		"a region nobody leads":   {func(m string) error { return on(m, "/CompleteRegistration", codes.Unavailable) }, "", storage.Unavailable, "CompleteRegistration"},
		"no Ledger":               {func(m string) error { return on(m, "/InitCluster", codes.Unimplemented) }, "", storage.InvalidArgument, "is not a Ledger server"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{Uninitialized: true})
			c.Hook(ledgertest.Hooks{Before: func(_ context.Context, _ *ledgertest.Node, m string) error {
				if bad.before == nil {
					return nil
				}
				return bad.before(m)
			}})
			var waits atomic.Int64
			_, err := ledger.Bootstrap(t.Context(), ledger.BootstrapOptions{Endpoints: c.Endpoints(), Email: bad.email, Pause: impatient(&waits)})
			if e := wantCode(t, err, bad.code); !strings.Contains(e.Error(), bad.says) {
				t.Errorf("the error is %v", e)
			}
			if waits.Load() > 500 {
				t.Errorf("it waited %d times", waits.Load())
			}
		})
	}
	c := cluster(t, ledgertest.Options{})
	const email = "me@example.com"
	var waits atomic.Int64
	o := ledger.BootstrapOptions{Endpoints: c.Endpoints(), Email: email, Pause: impatient(&waits)}
	if _, err := ledger.Bootstrap(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	_, err := ledger.Bootstrap(t.Context(), o)
	wantCode(t, err, storage.AlreadyExists)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ledger.Bootstrap(ctx, ledger.BootstrapOptions{Endpoints: []string{silent(t)}})
	wantCode(t, err, storage.Canceled)
}

// on refuses a method; a nil error must not be one of its type.
func on(method, which string, code codes.Code) error {
	if strings.HasSuffix(method, which) {
		return ledgertest.Refuse(code, "3204", "no")
	}
	return nil
}

func TestSlugs(t *testing.T) {
	now := time.Date(2026, 4, 29, 0, 0, 0, 0, time.UTC)
	a, b := ledger.NewSlug(now), ledger.NewSlug(now)
	if a == b || a>>22 != uint64(now.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds()) || ledger.NewSlug(time.Time{}) == 0 {
		t.Errorf("the slugs are %d and %d", a, b)
	}
}
