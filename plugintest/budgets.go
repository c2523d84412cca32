package plugintest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// within returns a request with a budget.
func (g *guest) within(id uint32, budget int, op abi.Op, message []byte) []byte {
	b := abi.BeginFrame(nil, id, uint8(op), &abi.Header{Now: g.clock().UnixMilli(), Budget: uint32(budget)})
	b, err := abi.EndFrame(append(b, message...), 0)
	if err != nil {
		panic(err) // of 4 GiB
	}
	return b
}

// large stores an item, as large as is useful here, and returns its size.
func (g *guest) large(key []byte) (size int, err error) {
	size = 3000
	if limit := g.b.Info().Limits.Value; limit > 0 {
		size = min(size, limit)
	}
	if err := g.store.Set(g.ctx, key, make([]byte, size)); err != nil {
		return 0, notWritable(err)
	}
	return size, nil
}

// budgetOfACall has the answers of one call share the budget of its first frame.
func budgetOfACall(g *guest) error {
	if !g.module {
		return fmt.Errorf("%w: a process answers each request by itself", errNotApplicable)
	}
	key := []byte("large")
	size, err := g.large(key)
	if err != nil {
		return err
	}
	for _, budget := range []int{size + 50, 2*size + 300, 5 * size} {
		var requests [][]byte
		for i := range 12 {
			op, message := abi.OpGet, abi.AppendGet(nil, key)
			switch i % 4 {
			case 1:
				op, message = abi.OpGetMany, abi.AppendGetMany(nil, [][]byte{key})
			case 2:
				op, message = abi.OpHealth, abi.AppendProbe(nil, storage.Readiness)
			case 3:
				op, message = abi.OpScan, abi.AppendQuery(nil, &storage.Query{Start: key, Limit: 1, KeysOnly: true})
			}
			requests = append(requests, g.within(uint32(i), budget, op, message))
		}
		replies, err := g.exchange(budget, requests...)
		if err != nil {
			return err
		}
		for i, r := range replies {
			if r.code != storage.OK {
				return fmt.Errorf("request %d of 12 with a budget of %d each is answered with %s, want its answer, in a later call if it did not fit this one", i+1, budget, r.code.Name())
			}
		}
	}
	return g.applyBehind(key)
}

// applyBehind has a write set behind an answer that leaves no room for its own.
func (g *guest) applyBehind(key []byte) error {
	get := abi.AppendGet(nil, key)
	alone, err := g.exchange(0, g.frame(1, abi.OpGet, get))
	if err != nil {
		return err
	}
	budget := alone[0].size + 2
	w := storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("behind"), nil)}}
	requests := [][]byte{g.within(1, budget, abi.OpGet, get), g.within(2, budget, abi.OpApply, abi.AppendWriteSet(nil, &w))}
	answer, err := g.b.Raw(g.ctx, slices.Concat(requests...))
	if err != nil {
		return err
	}
	replies, err := read(answer, requests, nil)
	if err != nil {
		return err
	}
	if len(answer) > budget {
		return fmt.Errorf("%d answers of one call, the last of an apply, have %d bytes, over the budget of %d", len(replies), len(answer), budget)
	}
	if _, err := g.store.Get(g.ctx, []byte("behind")); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("an apply for whose answer there was no room was not answered, and done all the same: %w", err)
	}
	replies, err = g.exchange(budget, requests[1])
	if err == nil && replies[0].code != storage.OK {
		err = fmt.Errorf("an apply that was left is answered with %s when it comes again", replies[0].code.Name())
	}
	return err
}

// budgetOfAnApply gives an apply a budget too small for any answer: a first apply runs all
// the same, and what is refused can be read.
func budgetOfAnApply(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	key := []byte("tiny")
	w := storage.WriteSet{Checks: []storage.Check{storage.Absent(key)}, Ops: []storage.Op{storage.Put(key, []byte("v"))}}
	for _, want := range []storage.Code{storage.OK, storage.Conflict} {
		replies, err := g.exchange(0, g.within(7, 1, abi.OpApply, abi.AppendWriteSet(nil, &w)))
		switch {
		case err != nil:
			return err
		case replies[0].code != want:
			return fmt.Errorf("an apply with a budget of 1 is answered with %s, want %s: it cannot be taken back", replies[0].code.Name(), want.Name())
		case want == storage.OK && replies[0].size > 23 && !g.plain:
			return fmt.Errorf("the answer to an apply has %d bytes, want at most 23", replies[0].size)
		}
	}
	if v, err := g.store.Get(g.ctx, key); err != nil || string(v) != "v" {
		return fmt.Errorf("after an apply with a budget of 1 its item reads %q, %w", v, err)
	}
	return nil
}

// budgetOfAScan walks with budgets that hold some items, and one that holds none.
func budgetOfAScan(g *guest) error {
	const items, size = 40, 200
	for i := range items {
		if err := g.store.Set(g.ctx, fmt.Appendf(nil, "scan/%02d", i), make([]byte, size)); err != nil {
			return notWritable(err)
		}
	}
	q := storage.Query{Start: []byte("scan/"), End: []byte("scan0")}
	for _, budget := range []int{600, 1500, 5000} {
		for _, c := range []storage.Query{{}, {Limit: 1000, MaxBytes: 1 << 40}, {MaxBytes: 1 << 40, Reverse: true}, {Limit: 1000, KeysOnly: true}} {
			if c.Reverse && !g.b.Info().Caps.Has(storage.CapReverse) {
				continue
			}
			c.Start, c.End = q.Start, q.End
			n, err := g.walk(c, budget)
			if err == nil && n != items {
				err = fmt.Errorf("its pages have %d items, want %d", n, items)
			}
			if err != nil {
				return fmt.Errorf("a scan with a budget of %d, limit %d, max_bytes %d, reverse %t, keys_only %t: %w", budget, c.Limit, c.MaxBytes, c.Reverse, c.KeysOnly, err)
			}
		}
	}
	replies, err := g.exchange(0, g.within(7, 150, abi.OpScan, abi.AppendQuery(nil, &q)))
	if err == nil && replies[0].code != storage.RangeLimit {
		err = fmt.Errorf("a scan whose first item does not fit its budget is answered with %s, %d bytes, want %s", replies[0].code.Name(), replies[0].size, storage.RangeLimit.Name())
	}
	return err
}

// walk counts the items of the pages of q, each within budget.
func (g *guest) walk(q storage.Query, budget int) (n int, err error) {
	for range 4096 {
		replies, err := g.exchange(0, g.within(7, budget, abi.OpScan, abi.AppendQuery(nil, &q)))
		if err != nil {
			return n, err
		}
		var page storage.Page
		if r := replies[0]; r.code != storage.OK {
			return n, fmt.Errorf("a page is answered with %s", r.code.Name())
		} else if r.size > budget {
			return n, fmt.Errorf("a page has %d bytes", r.size)
		} else if err := abi.DecodePage(r.message, &page); err != nil {
			return n, err
		}
		if n += len(page.Items); page.Next == nil {
			return n, nil
		}
		if q.Reverse {
			q.End = page.Next
		} else {
			q.Start = page.Next
		}
	}
	return n, errors.New("it has more than 4096 pages")
}

// getInAFrame is answered as the same get by the host, which has a fast path for it.
func getInAFrame(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	keys := []string{"", "empty", "value", "expires", "absent"}
	for _, k := range keys[:3] {
		if err := g.store.Set(g.ctx, []byte(k), []byte(k[:len(k)/5*5])); err != nil {
			return err
		}
	}
	if g.b.Info().Caps.Has(storage.CapTTL) {
		if _, err := g.store.Put(g.ctx, []byte("expires"), []byte("v"), storage.WithTTL(time.Hour)); err != nil {
			return err
		}
	}
	for _, k := range keys {
		want, absent := g.b.Get(g.ctx, []byte(k))
		code, message, err := g.ask(abi.OpGet, abi.AppendGet(nil, []byte(k)))
		if err != nil {
			return fmt.Errorf("a get of %q: %w", k, err)
		}
		if absent != nil {
			if code != storage.CodeOf(absent) {
				return fmt.Errorf("a get of %q in a frame is answered with %s, another way with %v", k, code.Name(), absent)
			}
			continue
		}
		var it storage.Item
		if err := abi.DecodeItem(message, &it); code != storage.OK || err != nil {
			return fmt.Errorf("a get of %q in a frame is answered with %s, %v", k, code.Name(), err)
		}
		if it.Key != nil || it.Value == nil || string(it.Value) != string(want.Value) || it.Version != want.Version || !it.ExpiresAt.Equal(want.ExpiresAt) {
			return fmt.Errorf("a get of %q in a frame is answered with %+v, another way with %+v", k, it, want)
		}
	}
	return nil
}
