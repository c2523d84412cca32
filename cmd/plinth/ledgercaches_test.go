package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/storage"
)

// Caches of two hosts over one vault, each with the plugin in a process of its own, see each
// other's writes: check says so, and they do, long before the TTL of the cache.
func TestLedgerCachesOfTwoHosts(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{})
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	text := fmt.Sprintf("stores: { default: { backend: { plugin: ledger, config: { endpoints: [%q], organization: %d, vault: %d, ttl: false } }, pipeline: [{ cache: { ttl: 1h, negative_ttl: 1h } }] } }\n",
		c.Endpoints()[0], ledgertest.Organization, ledgertest.Vault)
	if err := os.WriteFile(file, []byte(text+soonGone), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := program(t, "check", "--explain", file)
	if code != exitDone {
		t.Fatal(code, errs)
	}
	wantAll(t, out, "writes of others to the backend are noticed, and seen after 1s at the latest; each empties the cache")
	if strings.Contains(out+errs, "others may write to this backend") {
		t.Errorf("check warns of what is noticed:\n%s%s", out, errs)
	}
	var stores [2]*plinth.Store
	for i := range stores {
		o := source{}.options(env{environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}})
		h, err := plinth.Open(t.Context(), file, o...)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(context.Background())
		stores[i] = storeOf(t, h, "default")
	}
	for round := range 5 {
		value := fmt.Sprint(round)
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			_, _ = stores[1].Get(t.Context(), []byte("k")) // so that its cache has it
		}
		if err := stores[0].Set(t.Context(), []byte("k"), []byte(value)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			v, err := stores[1].Get(t.Context(), []byte("k"))
			if err == nil && string(v) == value {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("round %d: the other host has %q, %v", round, v, err)
			}
		}
	}
	if _, err := stores[1].Changes(nil, nil, storage.ChangesOptions{FromNow: true}).Page(t.Context()); !errors.Is(err, storage.ErrUnsupported) {
		t.Errorf("a feed of changes: %v", err)
	}
}
