package memory

import (
	"context"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// GetEncoded is Get without a copy: see [sdk.Encoded].
func (b *Backend) GetEncoded(_ context.Context, key []byte) ([]byte, error) {
	e, err := b.find(key)
	if err != nil {
		return nil, err
	}
	return e.item[e.keyEnd:], nil
}

// AppendMany is GetMany without a copy but the one into dst: see [sdk.Encoded].
func (b *Backend) AppendMany(_ context.Context, dst []byte, keys [][]byte) ([]byte, error) {
	err := b.many(keys, func(e *entry) { dst = abi.AppendEncodedItem(dst, e.item, nil) })
	return dst, err
}

// AppendScan is Scan without a copy but the one into dst: see [sdk.Encoded].
func (b *Backend) AppendScan(ctx context.Context, dst []byte, q storage.Query) ([]byte, error) {
	start := len(dst)
	page, err := b.page(ctx, &q, func() { dst = dst[:start] }, func(e *entry) {
		if q.KeysOnly {
			dst = abi.AppendEncodedItem(dst, e.item[:e.keyEnd], e.item[e.valueEnd:])
		} else {
			dst = abi.AppendEncodedItem(dst, e.item, nil)
		}
	})
	if err != nil {
		return dst[:start], err
	}
	return abi.AppendPage(dst, &page), nil
}
