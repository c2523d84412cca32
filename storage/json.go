package storage

import (
	"bytes"
	"context"
	"encoding/json"
)

// KV is what the JSON helpers need: a [Store] or a [Txn].
type KV interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	Set(ctx context.Context, key, value []byte) error
	CompareAndSet(ctx context.Context, key []byte, expected Expected, value []byte) error
}

var (
	_ KV = (*Store)(nil)
	_ KV = (*Txn)(nil)
)

// GetJSON reads the value at key as JSON. raw is what is stored, for a later
// [ExpectValue]: never compare with a value that was encoded again, for another
// program's encoder may order and escape it otherwise. A value that is not JSON
// for T is a Serialization error; raw is answered with it.
func GetJSON[T any](ctx context.Context, kv KV, key []byte) (v T, raw []byte, err error) {
	if raw, err = kv.Get(ctx, key); err != nil {
		return v, nil, err
	}
	if err = json.Unmarshal(raw, &v); err != nil {
		return v, raw, Errorf(Serialization, "the value is not the JSON that was expected")
	}
	return v, raw, nil
}

// SetJSON stores v at key as JSON, for ever.
func SetJSON[T any](ctx context.Context, kv KV, key []byte, v T) error {
	raw, err := EncodeJSON(v)
	if err != nil {
		return err
	}
	return kv.Set(ctx, key, raw)
}

// CompareAndSetJSON stores v at key as JSON if the key is as expected.
func CompareAndSetJSON[T any](ctx context.Context, kv KV, key []byte, expected Expected, v T) error {
	raw, err := EncodeJSON(v)
	if err != nil {
		return err
	}
	return kv.CompareAndSet(ctx, key, expected, raw)
}

// EncodeJSON is v as the helpers store it: compact, and with '<', '>' and '&' as
// they are, as most encoders other than Go's leave them.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, &Error{Code: Serialization, Msg: "the value cannot be encoded as JSON", Err: err}
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
