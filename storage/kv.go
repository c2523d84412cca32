package storage

import (
	"context"
	"iter"
	"time"
)

// KV has the methods that [Store] and [Txn] share: functions over it work with both. It
// grows with them, so nothing else should implement it.
type KV interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	GetItem(ctx context.Context, key []byte) (Item, error)
	GetMany(ctx context.Context, keys [][]byte) ([]Item, error)
	Range(ctx context.Context, start, end []byte, o RangeOptions) iter.Seq2[Item, error]
	Prefix(ctx context.Context, prefix []byte, o RangeOptions) iter.Seq2[Item, error]

	Set(ctx context.Context, key, value []byte) error
	Put(ctx context.Context, key, value []byte, opts ...PutOption) (version uint64, err error)
	Delete(ctx context.Context, key []byte) error
	Remove(ctx context.Context, key []byte, conditions ...Condition) (version uint64, err error)
	Touch(ctx context.Context, key []byte, ttl time.Duration) (version uint64, err error)
	TouchUntil(ctx context.Context, key []byte, at time.Time) (version uint64, err error)
	ClearRange(ctx context.Context, start, end []byte) (version uint64, err error)
}

var (
	_ KV = (*Store)(nil)
	_ KV = (*Txn)(nil)
)
