package storagetest

import (
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// txn is a transaction in the terms of checks.
type txn struct {
	t  *T
	tx *storage.Txn
}

func (t *T) begin() txn        { return txn{t, t.s.Begin(storage.ReadCommitted)} }
func (t *T) serializable() txn { return txn{t, t.s.Begin(storage.Serializable)} }

func (x txn) set(key, value string) { x.t.must(x.tx.Set(x.t.ctx, bs(key), bs(value))) }
func (x txn) del(key string)        { x.t.must(x.tx.Delete(x.t.ctx, bs(key))) }
func (x txn) commit()               { x.t.must(errOf(x.tx.Commit(x.t.ctx))) }

func (x txn) setTTL(key, value string, ttl time.Duration) {
	x.t.must(errOf(x.tx.Put(x.t.ctx, bs(key), bs(value), storage.WithTTL(ttl))))
}

func (x txn) cas(key string, e storage.Condition, value string) error {
	return errOf(x.tx.Put(x.t.ctx, bs(key), bs(value), e))
}

func (x txn) wantValue(key, want string) {
	v, err := x.tx.Get(x.t.ctx, bs(key))
	if err != nil || string(v) != want || v == nil {
		x.t.Fatalf("in the transaction, Get(%q) = %s, %v, want %q", key, quote(v), err, want)
	}
}

func (x txn) wantAbsent(key string) {
	v, err := x.tx.Get(x.t.ctx, bs(key))
	if storage.CodeOf(err) != storage.NotFound {
		x.t.Fatalf("in the transaction, Get(%q) = %s, %v, want not found", key, quote(v), err)
	}
}

func (x txn) keys(o storage.RangeOptions) (keys []string) {
	for it, err := range x.tx.Range(x.t.ctx, nil, nil, o) {
		x.t.must(err)
		keys = append(keys, string(it.Key))
	}
	return keys
}

func (x txn) wantKeys(want ...string) {
	for _, page := range []int{0, 1, 3} {
		if got := x.keys(storage.RangeOptions{PageItems: page}); !slices.Equal(got, want) {
			x.t.Fatalf("in the transaction, the range, %d a page, is %q, want %q", page, got, want)
		}
	}
}
