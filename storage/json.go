package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// GetJSON reads the value at key as JSON. A value that is not JSON for T is a
// Serialization error. For a later [IfValue], read the bytes with Get and decode them
// with [DecodeJSON].
func GetJSON[T any](ctx context.Context, kv KV, key []byte) (T, error) {
	raw, err := kv.Get(ctx, key)
	if err != nil {
		var none T
		return none, err
	}
	return DecodeJSON[T](raw)
}

// SetJSON stores v at key as JSON without an expiry. It is the short form of [PutJSON].
func SetJSON[T any](ctx context.Context, kv KV, key []byte, v T) error {
	_, err := PutJSON(ctx, kv, key, v)
	return err
}

// PutJSON stores v as JSON, like Put. Compare with [IfVersion], or with the bytes that were
// read, never with a value that was encoded again: another program's encoder may order and
// escape it otherwise.
func PutJSON[T any](ctx context.Context, kv KV, key []byte, v T, opts ...PutOption) (version uint64, err error) {
	raw, err := EncodeJSON(v)
	if err != nil {
		return 0, err
	}
	return kv.Put(ctx, key, raw, opts...)
}

// UpdateJSON reads the value at key as JSON, lets fn change it, and stores the result. If
// another writer changes the key meanwhile, all of that is repeated, as by
// [Store.Update]. For an absent key, fn gets the zero T. An error of fn ends it, and
// stores nothing. The expiry stays on backends that report it ([CapExpiryOnRead]); on
// others the item has none afterwards. In a transaction it runs once.
func UpdateJSON[T any](ctx context.Context, kv KV, key []byte, fn func(*T) error) error {
	once := func(ctx context.Context) (uint64, error) {
		var v T
		unchanged := IfAbsent()
		it, err := kv.GetItem(ctx, key)
		switch {
		case err == nil:
			unchanged = ifUnchanged(it)
			if v, err = DecodeJSON[T](it.Value); err != nil {
				return 0, err
			}
		case !errors.Is(err, ErrNotFound):
			return 0, err
		}
		if err := fn(&v); err != nil {
			return 0, err
		}
		return PutJSON(ctx, kv, key, v, unchanged, Until(it.ExpiresAt))
	}
	var err error
	if s, ok := kv.(interface{ backoff() Backoff }); ok {
		_, err = RetryOnConflict(ctx, s.backoff(), once)
	} else {
		_, err = once(ctx)
	}
	return err
}

// DecodeJSON reads raw as JSON. Anything that is not JSON for T is a Serialization error
// with the decoder's error as its cause. Its text omits the cause, which may contain a
// part of raw.
func DecodeJSON[T any](raw []byte) (T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		var none T
		return none, &Error{Code: Serialization, Msg: "the value is not the JSON that was expected", Err: err}
	}
	return v, nil
}

// EncodeJSON returns v as the helpers store it: compact, without escapes for '<', '>' and
// '&', like most encoders other than Go's.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, &Error{Code: Serialization, Msg: "the value cannot be encoded as JSON", Err: err}
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
