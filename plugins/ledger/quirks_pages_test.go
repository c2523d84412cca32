package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// listing is one page as the server gives it.
func listing(t *testing.T, c *ledgertest.Cluster, change func(*ledgerpb.ListEntitiesRequest)) (*ledgerpb.ListEntitiesResponse, error) {
	t.Helper()
	r := &ledgerpb.ListEntitiesRequest{Organization: orgSlug(), Vault: vaultSlug(), Limit: 1000}
	change(r)
	answer := new(ledgerpb.ListEntitiesResponse)
	err := raw(t, c.Node(0), "ReadService/ListEntities", r, answer)
	return answer, err
}

func entityKeys(l *ledgerpb.ListEntitiesResponse) (keys []string) {
	for _, e := range l.Entities {
		keys = append(keys, e.Key)
	}
	return keys
}

func letters(t *testing.T, b storage.Backend) (all []string) {
	t.Helper()
	for l := 'a'; l <= 'z'; l++ {
		apply(t, b, storage.Put([]byte{byte(l)}, bs("v")))
		all = append(all, string(l))
	}
	return all
}

func TestPagesInBucketOrder(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.BucketOrder = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c, func(c *ledger.Config) { c.PageSize = 3 })
		want := letters(t, b)
		l, err := listing(t, c, func(r *ledgerpb.ListEntitiesRequest) { r.KeyPrefix = "6" })
		if err != nil {
			t.Fatal(err)
		}
		if sorted := slices.IsSorted(entityKeys(l)); sorted == on {
			t.Errorf("the server's order is that of keys: %t", sorted)
		}
		if got := keys(t, b, nil, nil); !slices.Equal(got, want) {
			t.Errorf("the range is %q", got)
		}
	})
}

func TestPageTokens(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.BoundTokens = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Nodes: 3, Quirks: q})
		b := open(t, c, func(c *ledger.Config) { c.PageSize = 3 })
		want := letters(t, b)
		first, err := listing(t, c, func(r *ledgerpb.ListEntitiesRequest) { r.KeyPrefix, r.Limit = "6", 3 })
		if err != nil || first.NextPageToken == "" {
			t.Fatal(err)
		}
		_, err = listing(t, c, func(r *ledgerpb.ListEntitiesRequest) { r.KeyPrefix, r.Limit, r.PageToken = "7", 3, first.NextPageToken })
		if refused := status.Code(err) == codes.InvalidArgument; refused != on {
			t.Errorf("a token for another prefix: %v", err)
		}
		again := &ledgerpb.ListEntitiesRequest{Organization: orgSlug(), Vault: vaultSlug(), Limit: 3, KeyPrefix: "6", PageToken: first.NextPageToken}
		err = raw(t, c.Node(1), "ReadService/ListEntities", again, new(ledgerpb.ListEntitiesResponse))
		if refused := status.Code(err) == codes.InvalidArgument; refused != on {
			t.Errorf("a token at another node: %v", err)
		}
		pages := 0
		c.Hook(ledgertest.Hooks{Before: func(_ context.Context, n *ledgertest.Node, m string) error {
			if pages++; pages%5 == 4 && pages < 20 { // the node starts again, in the middle of a scan
				n.Forget()
			}
			return nil
		}})
		if got := keys(t, b, bs("a"), bs("o")); !slices.Equal(got, want[:14]) {
			t.Errorf("the range is %q", got)
		}
	})
}

// A node that always starts again returns no page, and the scan ends.
func TestPageTokensThatNeverHold(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) { c.PageSize = 3 })
	letters(t, b)
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, n *ledgertest.Node, _ string) error { n.Forget(); return nil }})
	_, err := b.Scan(t.Context(), storage.Query{})
	wantCode(t, err, storage.Serialization)
}

func TestPagesThatEndEarly(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.EarlyEnd = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		clock := storagetest.NewClock()
		c := cluster(t, ledgertest.Options{Clock: clock.Now, Quirks: q})
		b := openAt(t, c, clock, func(c *ledger.Config) { c.PageSize = 4 })
		want := letters(t, b)
		until := clock.Now().Add(10 * time.Second)
		for i := range 60 {
			apply(t, b, storage.PutUntil(fmt.Appendf(nil, "expires %d", i), bs("v"), until))
		}
		clock.Advance(11 * time.Second)
		seen, token := 0, ""
		for {
			l, err := listing(t, c, func(r *ledgerpb.ListEntitiesRequest) { r.KeyPrefix, r.Limit, r.PageToken = "6", 4, token })
			if err != nil {
				t.Fatal(err)
			}
			seen += len(l.Entities)
			if token = l.NextPageToken; token == "" {
				break
			}
		}
		if lost := seen < 15; lost != on { // a to o begin with a 6
			t.Errorf("a walk without the expired gives %d of 15", seen)
		}
		if got := keys(t, b, nil, nil); !slices.Equal(got, want) {
			t.Errorf("the range is %q", got)
		}
	})
}

func TestAuditRecords(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.Audit = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c)
		want := letters(t, b)
		l, err := listing(t, c, func(*ledgerpb.ListEntitiesRequest) {})
		if err != nil {
			t.Fatal(err)
		}
		own := slices.IndexFunc(entityKeys(l), func(k string) bool { return strings.HasPrefix(k, "_audit:") })
		if (own >= 0) != on {
			t.Errorf("entities of the server's own: %t", own >= 0)
		}
		// Those of another program are there too, one of them with the digits of a key's.
		for _, key := range []string{"user:alice", "abc", "6g", "signing-keys/1"} {
			put := &ledgerpb.WriteRequest{Organization: orgSlug(), Vault: vaultSlug(), ClientId: &ledgerpb.ClientId{Id: "other"}, IdempotencyKey: []byte(fmt.Sprintf("%16s", key)),
				Operations: []*ledgerpb.Operation{{Op: &ledgerpb.Operation_SetEntity{SetEntity: &ledgerpb.SetEntity{Key: key, Value: bs("v")}}}}}
			if err := raw(t, c.Node(0), "WriteService/Write", put, new(ledgerpb.WriteResponse)); err != nil {
				t.Fatal(err)
			}
		}
		if got := keys(t, b, nil, nil); !slices.Equal(got, want) {
			t.Errorf("the range is %q", got)
		}
		apply(t, b, storage.DeleteRange(nil, nil))
		if got := keys(t, b, nil, nil); len(got) > 0 {
			t.Errorf("a clear leaves %q", got)
		}
	})
}
