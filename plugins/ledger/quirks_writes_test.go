package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

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
				_, err := b.Apply(t.Context(), &storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte{'k', byte(i)})},
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

// The key of a write is known for a day.
func TestKeysAreForgotten(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	write := func(value string) *ledgerpb.WriteResponse {
		t.Helper()
		r := &ledgerpb.WriteRequest{Organization: orgSlug(), Vault: vaultSlug(), ClientId: &ledgerpb.ClientId{Id: "one"}, IdempotencyKey: []byte{15: 1},
			Operations: []*ledgerpb.Operation{{Op: &ledgerpb.Operation_SetEntity{SetEntity: &ledgerpb.SetEntity{Key: "00", Value: bs(value)}}}}}
		answer := new(ledgerpb.WriteResponse)
		if err := raw(t, c.Node(0), "WriteService/Write", r, answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	write("v")
	clock.Advance(23 * time.Hour)
	if h := write("v").GetSuccess().GetBlockHeight(); h != 1 {
		t.Errorf("a repeat within a day is at height %d", h)
	}
	if code := write("w").GetError().GetCode(); code != ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_IDEMPOTENCY_KEY_REUSED {
		t.Errorf("other content under the key: %s", code)
	}
	clock.Advance(2 * time.Hour)
	if h := write("v").GetSuccess().GetBlockHeight(); h != 2 {
		t.Errorf("a day later it is at height %d", h)
	}
}
