package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/plinthkv/plinth/storage"
)

// Get returns the live item at key: see [storage.Backend].
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := b.enter(ctx); err != nil {
		return storage.Item{}, err
	}
	defer b.leave()
	if b.info.Limits.TooLong(key) {
		return storage.Item{}, storage.ErrNotFound
	}
	answer, now, err := b.live(ctx, &pb.RangeRequest{Key: b.space.key(key)})
	if err != nil {
		return storage.Item{}, named("get", err)
	}
	if len(answer.Kvs) == 0 {
		return storage.Item{}, storage.ErrNotFound
	}
	it, live, err := item(answer.Kvs[0], now)
	if err == nil && !live {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.Item{}, err
	}
	return it, nil
}

// item returns the item in a pair, without its key. live reports that it has not expired. It
// shares its bytes with the answer, which is not used otherwise.
func item(kv *mvccpb.KeyValue, now int64) (it storage.Item, live bool, err error) {
	r, err := read(kv.Value)
	if err != nil || !r.live(now) {
		return storage.Item{}, false, err
	}
	return storage.Item{Value: r.value(), Version: uint64(kv.ModRevision), ExpiresAt: r.expiry()}, true, nil
}

// mostAnswer limits the bytes of keys and values that a GetMany returns.
const mostAnswer = 64 << 20

// GetMany returns the live items among keys, all of one revision.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if err := b.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.leave()
	items := make([]storage.Item, 0, len(keys))
	now, left := b.now(), mostAnswer
	g := getter{b: b}
	for keys = b.info.Limits.Possible(keys); len(keys) > 0; {
		kvs, err := g.some(ctx, keys)
		if err != nil {
			return nil, named("get_many", err)
		}
		for i, kv := range kvs {
			if kv == nil {
				continue
			}
			it, live, err := item(kv, now)
			if err != nil {
				return nil, err
			}
			if !live {
				continue
			}
			if left -= len(keys[i]) + len(it.Value); left < 0 {
				return nil, storage.LimitError(storage.RangeLimit, "answer bytes", mostAnswer, int64(mostAnswer-left))
			}
			it.Key = append([]byte{}, keys[i]...)
			items = append(items, it)
		}
		keys = keys[len(kvs):]
	}
	return items, nil
}

// getter reads keys of one revision, in as many transactions as it takes.
type getter struct {
	b        *Backend
	revision int64 // of the first answer, or 0 if there was none
	most     int   // keys at once; 0 if not known yet
}

// some reads the first of keys: what each has, nil where it is absent.
func (g *getter) some(ctx context.Context, keys [][]byte) ([]*mvccpb.KeyValue, error) {
	if g.most == 0 {
		g.most = g.b.config.MaxOps
	}
	for {
		n := g.b.fit(keys, g.most)
		r := &pb.TxnRequest{Success: make([]*pb.RequestOp, n)}
		for i, key := range keys[:n] {
			r.Success[i] = opRange(&pb.RangeRequest{Key: g.b.space.key(key), Revision: g.revision})
		}
		answer, err := g.b.readTxn(ctx, r)
		if err != nil {
			if n > 1 && tooLarge(cause(err)) { // fewer do fit
				g.most = n / 2
				continue
			}
			return nil, err
		}
		if g.revision == 0 {
			g.revision = answer.Header.Revision
		}
		kvs := make([]*mvccpb.KeyValue, n)
		for i, r := range answer.Responses {
			kvs[i] = first(r)
		}
		return kvs, nil
	}
}

// fit returns how many of keys, at most so many, fit into a request: at least one.
func (b *Backend) fit(keys [][]byte, most int) int {
	left := int(b.config.MaxRequest) - ownBytes
	for i, key := range keys[:min(most, len(keys))] {
		if left -= len(key) + len(b.space.data) + opExtra; left < 0 {
			return max(i, 1)
		}
	}
	return min(most, len(keys))
}

// cause returns what the client said.
func cause(err error) error {
	if e, ok := err.(*storage.Error); ok && e.Err != nil {
		return e.Err
	}
	return err
}
