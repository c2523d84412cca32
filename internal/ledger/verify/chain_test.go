package verify_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

func TestRoot(t *testing.T) {
	pair := func(a, b verify.Hash) verify.Hash { return sha256.Sum256(append(slices.Clone(a[:]), b[:]...)) }
	a, b, c := verify.Hash{1}, verify.Hash{2}, verify.Hash{3}
	for name, r := range map[string]struct{ got, want verify.Hash }{
		"of nothing": {verify.Root(nil), verify.Empty()},
		"of one":     {verify.Root([]verify.Hash{a}), a},
		"of two":     {verify.Root([]verify.Hash{a, b}), pair(a, b)},
		"of three":   {verify.Root([]verify.Hash{a, b, c}), pair(pair(a, b), c)},
		"of five":    {verify.Root([]verify.Hash{a, b, c, a, b}), pair(pair(pair(a, b), pair(c, a)), b)},
	} {
		if r.got != r.want {
			t.Errorf("the root %s is %x, want %x", name, r.got, r.want)
		}
	}
}

// chain is n headers that follow each other.
func chain(n int, ids verify.IDs) (headers []*ledgerpb.BlockHeader) {
	var previous verify.Hash
	for i := range n {
		h := &ledgerpb.BlockHeader{Height: uint64(i + 1), PreviousHash: &ledgerpb.Hash{Value: slices.Clone(previous[:])},
			TxMerkleRoot: &ledgerpb.Hash{Value: make([]byte, 32)}, StateRoot: &ledgerpb.Hash{Value: make([]byte, 32)}}
		entry := verify.Entry(h, ids)
		h.BlockHash = &ledgerpb.Hash{Value: entry[:]}
		previous = verify.Header(h, ids)
		headers = append(headers, h)
	}
	return headers
}

func TestChain(t *testing.T) {
	ids := verify.IDs{Organization: 3, Vault: 4}
	all := chain(6, ids)
	anchor := func(i int) *verify.Anchor {
		return &verify.Anchor{Height: uint64(i + 1), Hash: verify.Header(all[i], ids)}
	}
	for name, c := range map[string]struct {
		headers         []*ledgerpb.BlockHeader
		anchor          *verify.Anchor
		verified        int
		begun, anchored bool
		bad             bool
	}{
		"nothing":                        {nil, nil, 0, false, false, false},
		"all of it":                      {all, nil, 6, true, false, false},
		"all of it, in another order":    {[]*ledgerpb.BlockHeader{all[3], all[5], all[0], all[1], all[4], all[2]}, nil, 6, true, false, false},
		"the end":                        {all[2:], nil, 4, false, false, false},
		"with an anchor in it":           {all, anchor(2), 6, true, true, false},
		"with an anchor right before it": {all[3:], anchor(2), 3, false, true, false},
		"with an anchor long before it":  {all[4:], anchor(1), 2, false, false, false},
		"with an anchor that is another": {all, &verify.Anchor{Height: 3, Hash: verify.Hash{9}}, 0, false, false, true},
		"with an anchor it has lost":     {[]*ledgerpb.BlockHeader{all[0], all[1], all[4], all[5]}, anchor(1), 0, false, false, true},
		"other numbers":                  {chain(3, verify.IDs{Organization: 9}), nil, 0, false, false, true},
	} {
		w, err := verify.Chain(c.headers, ids, c.anchor)
		if c.bad {
			if !errors.Is(err, verify.ErrMismatch) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(w.Verified) != c.verified || w.Begun != c.begun || w.Anchored != c.anchored {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}
