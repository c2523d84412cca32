package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/internal/ledger/verify"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// history is a vault with ten blocks.
func history(t *testing.T, c *ledgertest.Cluster) *ledger.Backend {
	t.Helper()
	b := open(t, c)
	for i := range 8 {
		apply(t, b, storage.Put(bs("k"), fmt.Append(nil, i)), storage.Put(fmt.Append(nil, "k", i), bs("v")))
	}
	if _, err := storage.New(b, storage.Settings{}).Put(t.Context(), bs("k"), bs("8"), storage.IfValue(bs("7"))); err != nil {
		t.Fatal(err)
	}
	apply(t, b, storage.Delete(bs("k1")), storage.PutUntil(bs("k2"), bs("v"), time.Now().Add(time.Hour)))
	return b
}

func TestVerify(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := history(t, c)
	c.Lead(1) // blocks are the leader's
	r, err := b.Verify(t.Context(), 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Blocks != 10 || r.To != 10 || !r.Walk.Begun || len(r.Walk.Verified) != 10 || len(r.Walk.Missing)+len(r.Walk.Aside) > 0 || r.Anchor.Height != 10 {
		t.Errorf("the report is %+v", r)
	}
	old := r.Anchor
	apply(t, b, storage.Put(bs("more"), nil), storage.Put(bs("still more"), nil))
	if r, err = b.Verify(t.Context(), 0, 0, &old); err != nil || !r.OK() || !r.Walk.Anchored {
		t.Errorf("with an anchor: %+v, %v", r, err)
	}
	if r, err = b.Verify(t.Context(), 4, 6, nil); err != nil || !r.OK() || r.Blocks != 3 || r.Walk.Begun {
		t.Errorf("a part: %+v, %v", r, err)
	}
	for _, heights := range [][2]uint64{{13, 0}, {5, 4}} {
		if _, err := b.Verify(t.Context(), heights[0], heights[1], nil); !errors.Is(err, storage.ErrInvalidArgument) {
			t.Errorf("heights %d: %v", heights, err)
		}
	}
	wrong := verify.Anchor{Height: 10, Hash: verify.Hash{1}}
	if r, err = b.Verify(t.Context(), 0, 0, &wrong); err != nil || !errors.Is(r.Broken, verify.ErrMismatch) {
		t.Errorf("with another anchor: %+v, %v", r, err)
	}
}

// A height that is missing is no tampering, and hides what is before it.
func TestVerifyWithGaps(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := history(t, c)
	c.Drop(ledgertest.Vault, 5)
	r, err := b.Verify(t.Context(), 0, 0, nil)
	if err != nil || !r.OK() || !slices.Equal(r.Walk.Missing, []uint64{5}) || !slices.Equal(r.Walk.Aside, []uint64{4, 3, 2, 1}) && !slices.Equal(r.Walk.Aside, []uint64{1, 2, 3, 4}) {
		t.Errorf("the report is %+v, %v", r, err)
	}
	if r.Walk.Begun {
		t.Error("the walk came to the beginning through a gap")
	}
	if _, err := b.Block(t.Context(), 5); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the block that is missing: %v", err)
	}
}

func TestTampering(t *testing.T) {
	for name, change := range map[string]func(*ledgerpb.Block){
		"a value": func(b *ledgerpb.Block) { b.Transactions[0].Operations[0].GetSetEntity().Value = bs("forged") },
		"an operation more": func(b *ledgerpb.Block) {
			b.Transactions[0].Operations = append(b.Transactions[0].Operations, b.Transactions[0].Operations[0])
		},
		"its time":        func(b *ledgerpb.Block) { b.Transactions[0].Timestamp.Seconds++ },
		"its state":       func(b *ledgerpb.Block) { b.Header.StateRoot.Value = make([]byte, 32) },
		"its predecessor": func(b *ledgerpb.Block) { b.Header.PreviousHash.Value = make([]byte, 32) },
		"its hash":        func(b *ledgerpb.Block) { b.Header.BlockHash.Value[0] ^= 1 },
		"a short hash":    func(b *ledgerpb.Block) { b.Header.BlockHash.Value = []byte{1} },
		"no header":       func(b *ledgerpb.Block) { b.Header.BlockHash = nil },
		"a header that fits itself": func(b *ledgerpb.Block) {
			b.Header.StateRoot.Value = make([]byte, 32)
			h := verify.Entry(b.Header, verify.IDs{Organization: 1, Vault: 1})
			b.Header.BlockHash.Value = h[:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{})
			b := history(t, c)
			if err := c.Tamper(ledgertest.Vault, 5, change); err != nil {
				t.Fatal(err)
			}
			r, err := b.Verify(t.Context(), 0, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() && slices.Contains(r.Walk.Verified, 5) {
				t.Errorf("it passes: %+v", r)
			}
		})
	}
}

func TestAudit(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b := openAt(t, c, clock, func(c *ledger.Config) { c.PageSize = 7 })
	audit := func(want ledger.State) {
		t.Helper()
		a, err := b.Audit(t.Context())
		if err != nil || a.State != want {
			t.Errorf("the audit is %+v, %v, want %s", a, err, want)
		}
	}
	audit(ledger.StateEmpty)
	for i := range 20 {
		apply(t, b, storage.Put(fmt.Append(nil, i), bs("v")), storage.PutUntil(fmt.Append(nil, "x", i), bs("v"), clock.Now().Add(time.Minute)))
	}
	audit(ledger.StateFits)
	clock.Advance(150 * time.Second)
	if a, err := b.Audit(t.Context()); err != nil || a.State != ledger.StateDiffers {
		t.Errorf("after a collection: %+v, %v", a, err)
	}
	apply(t, b, storage.Put(bs("k"), bs("v")))
	audit(ledger.StateFits)
	other := openAt(t, c, clock)
	c.Hook(ledgertest.Hooks{After: afterEach("/ListEntities", func() { apply(t, other, storage.Put(bs("k"), bs("w"))) })})
	audit(ledger.StateMoved)
}

func TestReadsOfThePast(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := history(t, c)
	c.Lead(1)
	it, header, err := b.GetAt(t.Context(), bs("k"), 3)
	if err != nil || string(it.Value) != "2" || header.GetHeight() != 3 {
		t.Errorf("at height 3: %q, %v, %v", it.Value, header, err)
	}
	if _, _, err := b.GetAt(t.Context(), bs("k7"), 3); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what came later: %v", err)
	}
	for _, height := range []uint64{0, 11, 1 << 60} {
		if _, _, err := b.GetAt(t.Context(), bs("k"), height); !errors.Is(err, storage.ErrInvalidArgument) {
			t.Errorf("at height %d: %v", height, err)
		}
	}
	block, err := b.Block(t.Context(), 9)
	if err != nil || len(block.Transactions) != 1 || verify.Transactions(block) != nil {
		t.Errorf("the block is %v, %v", block, err)
	}
}

// A read that the server calls verified is not.
func TestVerifiedGet(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.EmptyProofs = false }, func(t *testing.T, q *ledgertest.Quirks, _ bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := history(t, c)
		v, err := b.VerifiedGet(t.Context(), bs("k"))
		if err != nil || string(v.Value) != "8" || v.Height != 10 || !v.Fits || v.Proven || v.Why == "" {
			t.Errorf("the answer is %+v, %v", v, err)
		}
		if err := c.Tamper(ledgertest.Vault, 10, func(b *ledgerpb.Block) { b.Header.StateRoot.Value[0] ^= 1 }); err != nil {
			t.Fatal(err)
		}
		if v, err = b.VerifiedGet(t.Context(), bs("absent")); err != nil || v.Value != nil || v.Fits {
			t.Errorf("with another header: %+v, %v", v, err)
		}
	})
}

// The answer to a write names another transaction than the block has.
func TestTransactionNames(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.RandomTxID = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		answer := new(ledgerpb.WriteResponse)
		err := raw(t, c.Node(0), "WriteService/Write", &ledgerpb.WriteRequest{Organization: orgSlug(), Vault: vaultSlug(), ClientId: &ledgerpb.ClientId{Id: "x"},
			IdempotencyKey: []byte{15: 1}, Operations: []*ledgerpb.Operation{{Op: &ledgerpb.Operation_DeleteEntity{DeleteEntity: &ledgerpb.DeleteEntity{Key: "00"}}}}}, answer)
		if err != nil {
			t.Fatal(err)
		}
		block, err := open(t, c).Block(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if same := string(block.Transactions[0].Id.Id) == string(answer.GetSuccess().TxId.Id); same == on {
			t.Errorf("the names are the same: %t", same)
		}
	})
}
