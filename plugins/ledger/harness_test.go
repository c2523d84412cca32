package ledger_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// asPlugin says to the test program to be the plugin: what is tested is what was
// compiled with it, race detector included.
const asPlugin = "PLINTH_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		tracer, stop := plugin.Traces()
		process.Serve(ledger.Opener(tracer), stop)
	}
	goleak.VerifyTestMain(m)
}

// cluster starts one that ends with the test.
func cluster(t *testing.T, o ledgertest.Options) *ledgertest.Cluster {
	t.Helper()
	c, err := ledgertest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// settings is the configuration of a backend on a cluster, with waits that suit a
// test, and changes.
func settings(c *ledgertest.Cluster, change ...func(*ledger.Config)) ledger.Config {
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = c.Endpoints(), ledgertest.Organization, ledgertest.Vault
	config.Retry.Initial, config.Retry.Max = "5ms", "50ms"
	for _, f := range change {
		f(&config)
	}
	return config
}

// largeValues lets values be as large as a message, on a cluster of largePages.
func largeValues(c *ledger.Config) { c.MaxValue = 4_185_904 }

// largePages are the real quirks but for the size of pages.
func largePages() *ledgertest.Quirks {
	return without(func(q *ledgertest.Quirks) { q.SmallPages, q.Unarchived, q.EmptiedPages = false, false, false })
}

// open opens a backend that ends with the test.
func open(t *testing.T, c *ledgertest.Cluster, change ...func(*ledger.Config)) *ledger.Backend {
	t.Helper()
	b, err := ledger.New(t.Context(), settings(c, change...), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

// configured opens a backend as a host does.
func configured(t *testing.T, config map[string]any) (storage.Backend, error) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return ledger.Open(ctx, sdk.Env{Config: raw})
}

func bs(s string) []byte { return []byte(s) }

// raw asks a node as no client would: one attempt, and nothing in between.
func raw(t *testing.T, n *ledgertest.Node, method string, request, answer proto.Message) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(n.Endpoint(), "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.Invoke(t.Context(), "/ledger.v1."+method, request, answer)
}

func orgSlug() *ledgerpb.OrganizationSlug {
	return &ledgerpb.OrganizationSlug{Slug: ledgertest.Organization}
}

func vaultSlug() *ledgerpb.VaultSlug { return &ledgerpb.VaultSlug{Slug: ledgertest.Vault} }

// height is the number of blocks of the vault: of the writes that were done.
func height(t *testing.T, c *ledgertest.Cluster) int {
	t.Helper()
	answer := new(ledgerpb.GetTipResponse)
	if err := raw(t, c.Node(c.Leader()), "ReadService/GetTip", &ledgerpb.GetTipRequest{Organization: orgSlug(), Vault: vaultSlug()}, answer); err != nil {
		t.Fatal(err)
	}
	return int(answer.Height)
}

// requests counts the requests of a method.
func requests(c *ledgertest.Cluster, method string) *atomic.Int64 {
	n := new(atomic.Int64)
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, method) {
			n.Add(1)
		}
		return nil
	}})
	return n
}

func apply(t *testing.T, b storage.Backend, ops ...storage.Op) {
	t.Helper()
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, b storage.Backend, key, want string) {
	t.Helper()
	it, err := b.Get(t.Context(), bs(key))
	if err != nil || string(it.Value) != want {
		t.Fatalf("%s is %q, %v, want %q", key, it.Value, err, want)
	}
}

func wantCode(t *testing.T, err error, want storage.Code) *storage.Error {
	t.Helper()
	if storage.CodeOf(err) != want {
		t.Fatalf("the error is %v (%s), want %s", err, storage.CodeOf(err), want)
	}
	return storage.AsError(err)
}

// keys are those of a range, in the order they came.
func keys(t *testing.T, b storage.Backend, start, end []byte) (all []string) {
	t.Helper()
	for it, err := range storage.New(b, storage.Settings{}).Range(t.Context(), start, end, storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(it.Key))
	}
	return all
}

// openAt is open with a clock.
func openAt(t *testing.T, c *ledgertest.Cluster, clock *storagetest.Clock, change ...func(*ledger.Config)) *ledger.Backend {
	t.Helper()
	b, err := ledger.New(t.Context(), settings(c, change...), sdk.Env{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

// afterEach runs f after every request of a method.
func afterEach(method string, f func()) func(context.Context, *ledgertest.Node, string) error {
	return func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, method) {
			f()
		}
		return nil
	}
}
