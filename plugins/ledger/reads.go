package ledger

import (
	"context"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// Get reads one key: see [storage.Backend]. The item has neither a version nor an expiry,
// because the protocol does not return them.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := checkKey(key); err != nil {
		return storage.Item{}, named("get", err)
	}
	if !b.calls.Enter() {
		return storage.Item{}, errClosed("get")
	}
	defer b.calls.Leave()
	if err := storage.ContextError(ctx); err != nil {
		return storage.Item{}, named("get", err)
	}
	request := &ledgerpb.ReadRequest{Organization: b.organization, Vault: b.vault, Key: entityKey(key), Consistency: b.reading, Caller: b.caller}
	answer := new(ledgerpb.ReadResponse)
	if _, err := b.read(ctx, "get", methodRead, b.reading, request, answer); err != nil {
		return storage.Item{}, err
	}
	if answer.Value == nil { // absent; what is present and empty is not nil
		return storage.Item{}, storage.ErrNotFound
	}
	return storage.Item{Value: answer.Value}, nil
}

// GetMany asks for keys at once: see [storage.Backend].
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if err := b.info.Load().Limits.CheckGetKeys(len(keys)); err != nil {
		return nil, named("get_many", err)
	}
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, named("get_many", err)
		}
	}
	if !b.calls.Enter() {
		return nil, errClosed("get_many")
	}
	defer b.calls.Leave()
	if err := storage.ContextError(ctx); err != nil {
		return nil, named("get_many", err)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	found, err := b.many(ctx, "get_many", keys, b.reading)
	if err != nil {
		return nil, err
	}
	items := make([]storage.Item, 0, len(found))
	given := make(map[string]bool, len(found))
	for _, key := range keys {
		value, ok := found[string(key)]
		if !ok {
			continue
		}
		if given[string(key)] { // each item is the caller's alone
			value = append([]byte{}, value...)
		}
		given[string(key)] = true
		items = append(items, storage.Item{Key: append([]byte{}, key...), Value: value})
	}
	return items, nil
}

// many returns the values of those of keys that are there.
func (b *Backend) many(ctx context.Context, op string, keys [][]byte, c ledgerpb.ReadConsistency) (map[string][]byte, error) {
	request := &ledgerpb.BatchReadRequest{Organization: b.organization, Vault: b.vault, Consistency: c, Caller: b.caller}
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		if !asked[string(key)] {
			asked[string(key)] = true
			request.Keys = append(request.Keys, entityKey(key))
		}
	}
	answer := new(ledgerpb.BatchReadResponse)
	if _, err := b.read(ctx, op, methodBatchRead, c, request, answer); err != nil {
		return nil, err
	}
	found := make(map[string][]byte, len(answer.Results))
	for _, r := range answer.Results {
		if !r.Found {
			continue
		}
		if key, ok := rawKey(r.Key); ok && asked[string(key)] {
			found[string(key)] = append([]byte{}, r.Value...)
		}
	}
	return found, nil
}
