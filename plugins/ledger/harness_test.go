package ledger_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/ledger/ledgertest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
