package pebble

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// keys holds buffers for the engine's keys.
var keys = sync.Pool{New: func() any { return new([]byte) }}

// look returns the live record at key, which is the engine's until closed, or nil if there is none.
func look(r pebble.Reader, key []byte, now int64) (record, io.Closer, error) {
	buf := keys.Get().(*[]byte)
	*buf = dataKey((*buf)[:0], key)
	b, closer, err := r.Get(*buf)
	keys.Put(buf)
	switch {
	case err == pebble.ErrNotFound:
		return nil, nil, nil
	case err != nil:
		return nil, nil, failed(err)
	}
	rec, err := readRecord(b)
	if err == nil && rec.live(now) {
		return rec, closer, nil
	}
	_ = closer.Close() // what was read is not used
	return nil, nil, err
}

// Get returns the live item at key: see [storage.Backend].
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := ctx.Err(); err != nil {
		return storage.Item{}, storage.ContextError(ctx)
	}
	now := b.now() // before the view: what had not expired by then is there, however late it was renewed
	v, err := b.views.take()
	if err != nil {
		return storage.Item{}, err
	}
	defer v.let()
	rec, closer, err := look(v.snap, key, now)
	if err != nil {
		return storage.Item{}, err
	}
	if rec == nil {
		return storage.Item{}, storage.ErrNotFound
	}
	it := item(rec)
	if err := closer.Close(); err != nil {
		return storage.Item{}, failed(err)
	}
	return it, nil
}

// item returns a copy of a record, without its key.
func item(r record) storage.Item {
	value := make([]byte, len(r.value()))
	copy(value, r.value())
	return storage.Item{Value: value, Version: r.version(), ExpiresAt: durable.Expiry(r.expires())}
}

// GetMany returns the live items among keys, all of one state.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if err := b.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	now := b.now() // before the view
	v, err := b.views.take()
	if err != nil {
		return nil, err
	}
	defer v.let()
	items := make([]storage.Item, 0, len(keys))
	left := mostAnswer
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, storage.ContextError(ctx)
		}
		rec, closer, err := look(v.snap, key, now)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		if left -= len(key) + len(rec.value()); left < 0 {
			_ = closer.Close()
			return nil, storage.LimitError(storage.RangeLimit, "answer bytes", mostAnswer, int64(mostAnswer-left))
		}
		it := item(rec)
		it.Key = bytes.Clone(key)
		if it.Key == nil {
			it.Key = []byte{}
		}
		if err := closer.Close(); err != nil {
			return nil, failed(err)
		}
		items = append(items, it)
	}
	return items, nil
}

// mostAnswer limits the bytes of keys and values that a call returns.
const mostAnswer = 64 << 20

// A page has at most maxItems items and looks at no more than maxLooks entries.
const (
	pageItems = 1000
	pageBytes = 1 << 20
	maxItems  = 10_000
	maxBytes  = 8 << 20
	maxLooks  = 20_000
)

// Scan returns one page of one state, which is kept for the following pages.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Page{}, storage.ContextError(ctx)
	}
	now := b.now()
	v, err := b.views.take()
	if err != nil {
		return storage.Page{}, err
	}
	if q.AtVersion != 0 && q.AtVersion != v.version {
		v.let()
		if v = b.views.at(q.AtVersion, now); v == nil {
			return storage.Page{}, storage.Errorf(storage.Conflict, "the version to scan is not kept (any more)")
		}
	}
	defer v.let()
	page := storage.Page{Version: v.version}
	if !storage.EmptyRange(q.Start, q.End) {
		if err := fill(ctx, v.snap, &q, now, &page); err != nil {
			return storage.Page{}, err
		}
	}
	if page.Next != nil {
		b.views.keep(v, now, now+int64(b.config.SnapshotLife)/1e6, b.config.Snapshots)
	}
	return page, nil
}

// fill reads a page of r.
func fill(ctx context.Context, r pebble.Reader, q *storage.Query, now int64, page *storage.Page) error {
	lower, upper := dataBounds(q.Start, q.End)
	iter, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return failed(err)
	}
	p := pager{q: q, now: now, page: page, items: limit(q.Limit, pageItems, maxItems), bytes: limit(q.MaxBytes, pageBytes, maxBytes), looks: maxLooks}
	step, ok := iter.Next, false
	if q.Reverse {
		step, ok = iter.Prev, iter.Last()
	} else {
		ok = iter.First()
	}
	for ; ok && err == nil; ok = step() {
		var more bool
		if more, err = p.take(iter); !more {
			break
		}
		if p.looks&1023 == 0 && ctx.Err() != nil {
			err = storage.ContextError(ctx)
		}
	}
	if err == nil && iter.Error() != nil {
		err = failed(iter.Error())
	}
	if closed := iter.Close(); err == nil && closed != nil {
		err = failed(closed)
	}
	return err
}

func limit(asked, usual, most int) int {
	if asked == 0 {
		return usual
	}
	return min(asked, most)
}

// pager fills a page until something runs out.
type pager struct {
	q                   *storage.Query
	now                 int64
	page                *storage.Page
	items, bytes, looks int // what is left
}

// take puts what the iterator is at onto the page, or ends the page before it.
func (p *pager) take(iter *pebble.Iterator) (more bool, err error) {
	key := iter.Key()[1:]
	value, err := iter.ValueAndErr()
	if err != nil {
		return false, failed(err)
	}
	rec, err := readRecord(value)
	if err != nil {
		return false, err
	}
	live := rec.live(p.now)
	size := len(key)
	if !p.q.KeysOnly {
		size += len(rec.value())
	}
	full := live && (p.items == 0 || len(p.page.Items) > 0 && size > p.bytes)
	if full || p.looks == 0 {
		p.page.Next = append([]byte{}, key...)
		if p.q.Reverse {
			p.page.Next = storage.After(p.page.Next)
		}
		return false, nil
	}
	p.looks--
	if !live {
		return true, nil
	}
	it := storage.Item{Key: append([]byte{}, key...), Version: rec.version(), ExpiresAt: durable.Expiry(rec.expires())}
	if !p.q.KeysOnly {
		it.Value = append([]byte{}, rec.value()...)
	}
	p.page.Items = append(p.page.Items, it)
	p.items--
	p.bytes -= size
	return true, nil
}
