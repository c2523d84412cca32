package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/ledger/ledgerpb"
	"github.com/plinthkv/plinth/plugins/ledger/ledgertest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Each quirk of the server: that it is there, asked as no client of ours asks, that
// it can be switched off, and that the backend answers as if there were none.

// without are the real quirks but for one.
func without(change func(*ledgertest.Quirks)) *ledgertest.Quirks {
	q := ledgertest.Real()
	change(&q)
	return &q
}

// both runs a test with a quirk and without it.
func both(t *testing.T, off func(*ledgertest.Quirks), test func(t *testing.T, q *ledgertest.Quirks, on bool)) {
	t.Run("with it", func(t *testing.T) { test(t, nil, true) })
	t.Run("without it", func(t *testing.T) { test(t, without(off), false) })
}

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

// A node that starts again for ever gives no page, and the scan ends.
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
		// Somebody else's are there too, one of them with the digits of a key's.
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

// Every status comes as it was meant, and with the details.
func TestDetailsInTheWrongForm(t *testing.T) {
	for _, s := range []struct {
		code   codes.Code
		number string
		want   storage.Code
	}{
		{codes.Unavailable, "2000", storage.Unavailable},
		{codes.FailedPrecondition, "3103", storage.Internal},
		{codes.FailedPrecondition, "3106", storage.Unavailable},
		{codes.FailedPrecondition, "3107", storage.Unavailable},
		{codes.InvalidArgument, "3203", storage.Serialization},
		{codes.ResourceExhausted, "3204", storage.RateLimited},
		{codes.NotFound, "3101", storage.Internal},
		{codes.PermissionDenied, "3204", storage.PermissionDenied},
		{codes.Unauthenticated, "3204", storage.Unauthenticated},
		{codes.DataLoss, "1101", storage.Internal},
		{codes.Internal, "3204", storage.Internal},
		{codes.AlreadyExists, "3104", storage.Conflict},
		{codes.DeadlineExceeded, "3204", storage.Timeout},
	} {
		t.Run(s.code.String()+" "+s.number, func(t *testing.T) {
			both(t, func(q *ledgertest.Quirks) { q.RawDetails = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
				c := cluster(t, ledgertest.Options{Quirks: q})
				b := open(t, c, func(c *ledger.Config) { c.Retry.Attempts = 2; c.Retry.Initial = "1ms" })
				refusal := ledgertest.Refuse(s.code, s.number, "a \"quoted\", text\nof grpc-message=\"two\" lines")
				if s.want == storage.RateLimited {
					refusal = refusal.After(time.Millisecond)
				}
				c.Hook(ledgertest.Hooks{Before: func(context.Context, *ledgertest.Node, string) error { return refusal }})
				if got := status.Code(raw(t, c.Node(0), "ReadService/Read", &ledgerpb.ReadRequest{}, new(ledgerpb.ReadResponse))); (got != s.code) != (on && s.code != codes.Internal) {
					t.Errorf("gRPC alone takes it for %s", got)
				}
				_, err := b.Get(t.Context(), bs("k"))
				if migrating := s.number == "3106" || s.number == "3107"; migrating && !on {
					return // nothing tells of it without the details
				}
				wantCode(t, err, s.want)
				var server *ledger.ServerError
				if !errors.As(err, &server) || server.Code != s.code || server.RequestID == "" || on && server.Details.GetErrorCode() != s.number {
					t.Fatalf("the cause is %+v", server)
				}
				if server.Message != "a \"quoted\", text\nof grpc-message=\"two\" lines" {
					t.Errorf("the message is %q", server.Message)
				}
				if strings.Contains(err.Error(), "quoted") || strings.Contains(server.Error(), "quoted") {
					t.Errorf("the error's text is the server's: %v", err)
				}
			})
		})
	}
}

func TestFollowersRedirect(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.Redirect = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Nodes: 3, Quirks: q})
		c.Lead(2)
		b := open(t, c)
		writes := requests(c, "/Write")
		for range 5 {
			apply(t, b, storage.Put(bs("k"), bs("v")))
		}
		want := int64(5)
		if on {
			want = 6 // the first goes to a follower, and the next know better
		}
		if n := writes.Load(); n != want {
			t.Errorf("5 writes took %d requests, want %d", n, want)
		}
	})
}

// The leader is not one of the configuration, or cannot be reached where hints say.
func TestLeaderHints(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	c.Lead(2)
	alone := open(t, c, func(c *ledger.Config) { c.Endpoints = c.Endpoints[:1] })
	apply(t, alone, storage.Put(bs("k"), bs("v")))
	c.Node(2).Advertise("http://127.0.0.1:1")
	all := open(t, c)
	apply(t, all, storage.Put(bs("k"), bs("w")))
	for _, nonsense := range []string{"not an endpoint", "ftp://x", ""} {
		c.Node(2).Advertise(nonsense)
		apply(t, open(t, c), storage.Put(bs("k"), bs("x")))
	}
	wantValue(t, alone, "k", "x")
}

func TestThousandOperations(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.MaxOps = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c)
		ops := make([]storage.Op, 1001)
		var wire []*ledgerpb.Operation
		for i := range ops {
			ops[i] = storage.Put(fmt.Appendf(nil, "k%04d", i), bs("v"))
			wire = append(wire, &ledgerpb.Operation{Op: &ledgerpb.Operation_DeleteEntity{DeleteEntity: &ledgerpb.DeleteEntity{Key: fmt.Sprint(i)}}})
		}
		err := raw(t, c.Node(0), "WriteService/Write", &ledgerpb.WriteRequest{Organization: orgSlug(), Vault: vaultSlug(), ClientId: &ledgerpb.ClientId{Id: "x"},
			IdempotencyKey: make([]byte, 16), Operations: wire}, new(ledgerpb.WriteResponse))
		if (err != nil) != on {
			t.Errorf("the server takes 1001 operations: %v", err)
		}
		writes := requests(c, "/Write")
		_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: ops})
		wantCode(t, err, storage.SizeLimit)
		apply(t, b, ops[:1000]...)
		apply(t, b, ops[1000])
		_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(bs("k"), nil)}})
		if e := wantCode(t, err, storage.RangeLimit); e.Limit.Max != 1000 || e.Limit.Kind != "ops" {
			t.Errorf("the limit is %+v", e.Limit)
		}
		if n := len(keys(t, b, nil, nil)); n != 1001 || writes.Load() != 2 {
			t.Errorf("%d keys are there after %d writes", n, writes.Load())
		}
		mixed := []storage.Op{storage.DeleteRange(bs("k0000"), bs("k0700"))} // 700 of them, and 400 more
		for i := range 400 {
			mixed = append(mixed, storage.Put(fmt.Append(nil, "x", i), nil))
		}
		_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: mixed})
		if e := wantCode(t, err, storage.SizeLimit); e.Limit != (storage.Limit{Kind: "ops", Max: 1000, Actual: 1100}) {
			t.Errorf("the limit is %+v", e.Limit)
		}
		chunked := open(t, c, func(c *ledger.Config) { c.ChunkedClear = true })
		_, err = chunked.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(bs("k"), nil), storage.Put(bs("x"), nil)}})
		wantCode(t, err, storage.RangeLimit) // it is not that alone
		apply(t, chunked, storage.DeleteRange(bs("k"), nil))
		if n := len(keys(t, b, nil, nil)); n != 0 || writes.Load() != 4 {
			t.Errorf("%d keys are there after %d writes", n, writes.Load())
		}
	})
}

// A chunked clear that ends in the middle says so.
func TestChunkedClearThatFails(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) { c.ChunkedClear, c.Retry.Attempts = true, 1 })
	for _, prefix := range []string{"a", "b"} {
		var ops []storage.Op
		for i := range 600 {
			ops = append(ops, storage.Put(fmt.Appendf(nil, "%s%d", prefix, i), bs("v")))
		}
		apply(t, b, ops...)
	}
	writes := 0
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/Write") {
			if writes++; writes == 2 {
				return ledgertest.Refuse(codes.FailedPrecondition, "3103", "no")
			}
		}
		return nil
	}})
	_, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}})
	if e := wantCode(t, err, storage.OutcomeUnknown); !e.Unknown {
		t.Errorf("the error is %+v", e)
	}
	if n := len(keys(t, b, nil, nil)); n != 200 {
		t.Errorf("%d keys are left", n)
	}
}

func TestWholeSeconds(t *testing.T) {
	clock := storagetest.NewClock() // at 89 ms of a second
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b := openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	for key, ttl := range map[string]time.Duration{"a": time.Millisecond, "b": 900 * time.Millisecond, "c": time.Minute} {
		if err := s.SetWithTTL(t.Context(), bs(key), bs("v"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range c.Stored(ledgertest.Vault) {
		if at := time.Unix(int64(e.GetExpiresAt()), 0); e.Key == "63" && (at.Before(clock.Now().Add(time.Minute)) || at.After(clock.Now().Add(61*time.Second))) {
			t.Errorf("what lives for a minute ends at %s, and it is %s", at, clock.Now())
		}
	}
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q are there: nothing ends before its time", got)
	}
	clock.Advance(911 * time.Millisecond)
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%q are there a second later", got)
	}
}

func TestConditionsSeeTheExpired(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.StaleConditions = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		clock := storagetest.NewClock()
		c := cluster(t, ledgertest.Options{Clock: clock.Now, Quirks: q})
		b := openAt(t, c, clock)
		s := storage.New(b, storage.Settings{Clock: clock.Now})
		expire := func() {
			t.Helper()
			if err := s.SetWithTTL(t.Context(), bs("k"), bs("stale"), 2*time.Second); err != nil {
				t.Fatal(err)
			}
			clock.Advance(3 * time.Second)
		}
		expire()
		writes := requests(c, "/Write")
		if err := s.CompareAndSet(t.Context(), bs("k"), storage.ExpectAbsent(), bs("new")); err != nil {
			t.Fatal(err)
		}
		if n := writes.Load(); (n == 2) != on {
			t.Errorf("the insert took %d writes", n)
		}
		wantValue(t, b, "k", "new")
		if err := s.CompareAndSet(t.Context(), bs("k"), storage.ExpectAbsent(), bs("x")); !errors.Is(err, storage.ErrConflict) {
			t.Error(err)
		}
		for name, e := range map[string]storage.Expected{"its value": storage.ExpectValue(bs("stale")), "anything": storage.ExpectPresent()} {
			expire()
			if err := s.CompareAndSet(t.Context(), bs("k"), e, bs("x")); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("an expired key holds %s: %v", name, err)
			}
			if err := s.CompareAndDelete(t.Context(), bs("k"), storage.ExpectAbsent()); err != nil {
				t.Error(err)
			}
		}
	})
}

// An insert over an expired record that somebody else gets in front of.
func TestInsertThatLosesToAnother(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b, other := openAt(t, c, clock), openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	if err := s.SetWithTTL(t.Context(), bs("k"), bs("stale"), time.Second); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Second)
	reads := 0
	c.Hook(ledgertest.Hooks{After: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/BatchRead") {
			if reads++; reads == 1 { // between the look and the second attempt
				apply(t, other, storage.Put(bs("k"), bs("theirs")))
			}
		}
		return nil
	}})
	if err := s.CompareAndSet(t.Context(), bs("k"), storage.ExpectAbsent(), bs("mine")); !errors.Is(err, storage.ErrConflict) {
		t.Error(err)
	}
	wantValue(t, b, "k", "theirs")
}

func TestCollection(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.Collection = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		clock := storagetest.NewClock()
		c := cluster(t, ledgertest.Options{Clock: clock.Now, Quirks: q})
		b := openAt(t, c, clock)
		s := storage.New(b, storage.Settings{Clock: clock.Now})
		if err := s.SetWithTTL(t.Context(), bs("k"), bs("v"), time.Second); err != nil {
			t.Fatal(err)
		}
		stored := func() bool {
			return slices.ContainsFunc(c.Stored(ledgertest.Vault), func(e *ledgerpb.Entity) bool { return e.Key == "6b" })
		}
		clock.Advance(30 * time.Second)
		if _, err := b.Get(t.Context(), bs("k")); !errors.Is(err, storage.ErrNotFound) || !stored() {
			t.Errorf("half a minute later: %v, still stored %t", err, stored())
		}
		clock.Advance(ledgertest.CollectEvery)
		if _, err := b.Get(t.Context(), bs("k")); !errors.Is(err, storage.ErrNotFound) || stored() == on {
			t.Errorf("after a collection: %v, still stored %t", err, stored())
		}
		if err := s.CompareAndSet(t.Context(), bs("k"), storage.ExpectAbsent(), bs("new")); err != nil {
			t.Error(err)
		}
	})
}

// The record goes between the refusal of an insert and the second attempt.
func TestCollectionAmidAnInsert(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b := openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	if err := s.SetWithTTL(t.Context(), bs("k"), bs("stale"), time.Second); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Second)
	c.Hook(ledgertest.Hooks{After: once("/BatchRead", func(*ledgertest.Node) error { clock.Advance(ledgertest.CollectEvery); return nil })})
	if err := s.CompareAndSet(t.Context(), bs("k"), storage.ExpectAbsent(), bs("new")); err != nil {
		t.Error(err)
	}
	wantValue(t, b, "k", "new")
}

// A new leader knows the last key of each client: writes that go on at once must not
// be of one client.
func TestNewLeaderForgets(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.ForgetfulFollowers = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Nodes: 2, Quirks: q})
		write := func(node int, key byte) *ledgerpb.WriteResponse {
			t.Helper()
			r := &ledgerpb.WriteRequest{Organization: orgSlug(), Vault: vaultSlug(), ClientId: &ledgerpb.ClientId{Id: "one"}, IdempotencyKey: []byte{15: key},
				Operations: []*ledgerpb.Operation{{Op: &ledgerpb.Operation_DeleteEntity{DeleteEntity: &ledgerpb.DeleteEntity{Key: fmt.Sprintf("%02x", key)}}}}}
			answer := new(ledgerpb.WriteResponse)
			if err := raw(t, c.Node(node), "WriteService/Write", r, answer); err != nil {
				t.Fatal(err)
			}
			return answer
		}
		write(0, 1)
		write(0, 2)
		if again := write(0, 1); again.GetSuccess().GetBlockHeight() != 1 {
			t.Errorf("a repeat at the leader answers %v", again)
		}
		c.Lead(1)
		if last := write(1, 2); last.GetError().GetCode() != ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_ALREADY_COMMITTED && last.GetSuccess().GetBlockHeight() != 2 {
			t.Errorf("the last write, at a new leader, answers %v", last)
		}
		if again := write(1, 1).GetSuccess().GetBlockHeight(); (again == 3) != on {
			t.Errorf("the write before that is done again: it is at height %d", again)
		}
		// The backend, with many writes on their way, whose leader goes.
		b := open(t, c, quickly)
		before := height(t, c)
		c.Hook(ledgertest.Hooks{After: once("/Write", func(*ledgertest.Node) error { c.Lead(0); c.Node(1).Cut(); return errCut })})
		done := make(chan error)
		for i := range 16 {
			go func() {
				_, err := b.Apply(t.Context(), &storage.WriteSet{Checks: []storage.Check{{Kind: storage.CheckAbsent, Key: []byte{'k', byte(i)}}},
					Ops: []storage.Op{storage.Put([]byte{'k', byte(i)}, bs("v"))}})
				done <- err
			}()
		}
		for range 16 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		c.Hook(ledgertest.Hooks{})
		if n := height(t, c) - before; n != 16 {
			t.Errorf("16 writes made %d blocks", n)
		}
	})
}

func TestVaultOfAnotherOrganization(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.UncheckedVault = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		apply(t, open(t, c), storage.Put(bs("k"), bs("v")))
		answer := new(ledgerpb.ReadResponse)
		err := raw(t, c.Node(0), "ReadService/Read", &ledgerpb.ReadRequest{Organization: orgSlug(), Vault: &ledgerpb.VaultSlug{Slug: ledgertest.OtherVault}, Key: "6b"}, answer)
		if another := err == nil && string(answer.Value) == "v"; another != on {
			t.Errorf("the pair reads another vault: %t, %v", another, err)
		}
		_, err = configured(t, map[string]any{"endpoints": c.Endpoints(), "organization": ledgertest.Organization, "vault": ledgertest.OtherVault})
		if e := wantCode(t, err, storage.InvalidArgument); e.ConfigPath != "vault" {
			t.Errorf("the error is at %q: %v", e.ConfigPath, e)
		}
	})
}

// With too little time left a write is not sent: the server would refuse it.
func TestTooLittleTime(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.ShortDeadlines = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c)
		writes := requests(c, "/Write")
		ctx, cancel := context.WithTimeout(t.Context(), ledgertest.LeastLeft-time.Millisecond)
		defer cancel()
		_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("v"))}})
		if e := wantCode(t, err, storage.Timeout); e.Unknown {
			t.Errorf("the error is %+v", e)
		}
		if n := writes.Load(); n != 0 {
			t.Errorf("%d writes were sent", n)
		}
	})
}
