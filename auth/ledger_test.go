package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Keys and the log of what is done to them are kept on a cluster too, which has neither
// versions nor conditions on keys that are not written.
func TestOnALedger(t *testing.T) {
	c, err := ledgertest.Start(ledgertest.Options{Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = c.Endpoints(), ledgertest.Organization, ledgertest.Vault
	b, err := ledger.New(t.Context(), config, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	store := storage.New(b, storage.Settings{})
	t.Cleanup(func() { store.Close(context.Background()) })
	ctx := t.Context()
	log := auth.NewChain(store, "audit/")
	keys := audited(t, auth.NewKeys(auth.OneStore(store), nil), log, auth.AuditOptions{Timeout: time.Minute})
	want(t, "create", keys.Create(ctx, org, newKey(t, "1")), nil)
	want(t, "create again", keys.Create(ctx, org, newKey(t, "1")), storage.AlreadyExists)
	want(t, "rotate", keys.Rotate(ctx, org, "1", newKey(t, "2"), 0), nil)
	want(t, "rotate to what is there", keys.Rotate(ctx, org, "2", newKey(t, "1"), 0), storage.AlreadyExists)
	want(t, "activate", keys.Activate(ctx, org, "1"), auth.InvalidState)
	want(t, "delete", keys.Delete(ctx, org, "1"), nil)
	want(t, "create what was revoked", keys.Create(ctx, org, newKey(t, "1")), storage.AlreadyExists)
	if got := kids(t, keys.ListActive(ctx, org)); len(got) != 1 || got[0] != "2" {
		t.Errorf("%v are usable", got)
	}
	if r := verified(t, log, ""); len(r.Faults) > 0 || r.Entries != 16 {
		t.Errorf("%+v", r)
	}
}
