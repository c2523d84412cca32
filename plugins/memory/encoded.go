package memory

import (
	"context"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// AppendGet is Get with a single copy, into dst: see [sdk.Encoded]. It is hot, and has a
// short path for an item that never expires and is all in one slot.
func (b *Backend) AppendGet(_ context.Context, dst, key []byte) ([]byte, error) {
	b.mu.RLock()
	if r := b.find(key); r != 0 && !b.closed {
		h := b.headAt(r)
		n := h.valueLen()
		if at := itemHead + len(key); h.flags&flagExpires == 0 && at+n <= maxSlot {
			dst = abi.AppendValue(dst, h.bytes(at, n), b.base+h.version())
			b.mu.RUnlock()
			return dst, nil
		}
	}
	dst, err := b.appendGet(dst, key)
	b.mu.RUnlock()
	return dst, err
}

func (b *Backend) appendGet(dst, key []byte) ([]byte, error) {
	it, err := b.look(key)
	if err != nil {
		return dst, err
	}
	w := b.wire(it)
	dst = abi.AppendItemValue(dst, &w)
	dst = b.append(dst, it, w.Key, w.Value)
	return abi.AppendItemTail(dst, &w), nil
}

// AppendMany is GetMany with a single copy, into dst: see [sdk.Encoded].
func (b *Backend) AppendMany(_ context.Context, dst []byte, keys [][]byte, budget int) ([]byte, error) {
	fits := func(all func(func(item))) error {
		size := 0
		all(func(it item) {
			w := b.wire(it)
			size += w.Size()
		})
		if size > budget {
			return storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(size))
		}
		return nil
	}
	err := b.many(keys, fits, func(it item) {
		w := b.wire(it)
		dst = b.encode(dst, it, &w)
	})
	return dst, err
}

// pageEnd is what a page has beside its items, at most, in bytes.
const pageEnd = 16

// AppendScan is Scan with a single copy, into dst: see [sdk.Encoded].
func (b *Backend) AppendScan(ctx context.Context, dst []byte, q storage.Query, budget int) ([]byte, error) {
	start := len(dst)
	// The page goes on at a key, which has to fit behind the items.
	room := budget - pageEnd - min(b.info.Limits.Key+1, budget/4)
	page, err := b.page(ctx, &q, func() { dst = dst[:start] }, func(it item) bool {
		w := b.wire(it)
		if q.KeysOnly {
			w.Value = -1
		}
		if first := len(dst) == start; !first && len(dst)-start+w.Size() > room || first && w.Size() > budget-pageEnd {
			return false
		}
		dst = b.encode(dst, it, &w)
		return true
	})
	if err == nil {
		dst = abi.AppendPage(dst, &page)
	}
	if err == nil && len(dst)-start > budget {
		err = storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(len(dst)-start))
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}
