package buffer

import (
	"bytes"
	"context"
	"math"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/plinthkv/plinth/storage"
)

// view shows the buffer at one moment. Its layers do not change.
type view struct {
	top, frozen *layer // frozen is nil where nothing is being committed
	begun       int    // commits, before it
	now         time.Time
}

func (v view) get(key []byte) (p pending, known bool) {
	if p, known = v.top.get(key); !known && v.frozen != nil {
		p, known = v.frozen.get(key)
	}
	return p, known
}

// item returns a pending value as an answer, if it is live.
func (v view) item(key []byte, p pending) (storage.Item, bool) {
	if !p.live(v.now) {
		return storage.Item{}, false
	}
	return storage.Item{Key: key, Value: append([]byte{}, p.value...), ExpiresAt: p.expiresAt}, true
}

// Get returns an item of the buffer, or else of the next backend.
func (b *Buffer) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := storage.ContextError(ctx); err != nil {
		return storage.Item{}, err
	}
	if err := b.next.Info().Limits.CheckKey(key); err != nil {
		return storage.Item{}, err
	}
	v := b.view()
	if p, known := v.get(key); known {
		it, ok := v.item(nil, p)
		if !ok {
			return storage.Item{}, storage.ErrNotFound
		}
		return it, nil
	}
	it, err := b.next.Get(ctx, key)
	it.Version = 0
	return it, err
}

// GetMany returns, for each key, the item of the buffer, or else of the next backend.
func (b *Buffer) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if err := storage.ContextError(ctx); err != nil {
		return nil, err
	}
	limits := b.next.Info().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := limits.CheckKey(key); err != nil {
			return nil, err
		}
	}
	return beneath(ctx, b, func(v view) ([]storage.Item, error) { return b.getMany(ctx, v, keys) })
}

func (b *Buffer) getMany(ctx context.Context, v view, keys [][]byte) ([]storage.Item, error) {
	var asked [][]byte
	for _, key := range keys {
		if _, known := v.get(key); !known {
			asked = append(asked, key)
		}
	}
	var found []storage.Item
	if len(asked) > 0 {
		var err error
		if found, err = b.next.GetMany(ctx, asked); err != nil {
			return nil, err
		}
	}
	var items []storage.Item
	for _, key := range keys {
		if p, known := v.get(key); known {
			if it, ok := v.item(bytes.Clone(key), p); ok {
				items = append(items, it)
			}
		} else if len(found) > 0 && bytes.Equal(found[0].Key, key) {
			found[0].Version = 0
			items, found = append(items, found[0]), found[1:]
		}
	}
	return items, nil
}

// pageItems is the size of a page that does not say its own, where the page below
// is smaller.
const pageItems = 1000

// Scan returns a page of the next backend, merged with the buffer.
func (b *Buffer) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if q.AtVersion != 0 {
		return storage.Page{}, storage.Errorf(storage.Unsupported, "a buffer has no versions")
	}
	return beneath(ctx, b, func(v view) (storage.Page, error) { return b.scan(ctx, v, q) })
}

func (b *Buffer) scan(ctx context.Context, v view, q storage.Query) (storage.Page, error) {
	page, err := b.next.Scan(ctx, q)
	if err != nil {
		return storage.Page{}, err
	}
	start, end := q.Start, q.End
	switch {
	case page.Next != nil && q.Reverse:
		start = page.Next
	case page.Next != nil:
		end = page.Next
	}
	items := slices.DeleteFunc(page.Items, func(it storage.Item) bool {
		_, known := v.get(it.Key)
		return known
	})
	for i := range items {
		items[i].Version = 0
	}
	most := max(len(page.Items), pageItems)
	if q.Limit > 0 {
		most = q.Limit
	}
	own := v.between(start, end, q, min(most, math.MaxInt-1)+1) // one more shows that there is one
	if len(own) > 0 {
		items = append(items, own...)
		slices.SortFunc(items, func(a, b storage.Item) int {
			if q.Reverse {
				a, b = b, a
			}
			return bytes.Compare(a.Key, b.Key)
		})
	}
	return cut(storage.Page{Items: items, Next: page.Next}, q, most), nil
}

// between returns the live items of the buffer in [start, end), the first ones of each
// layer in the direction of q: no more of each than most, or a little more than
// q.MaxBytes, for the page has room for no others.
func (v view) between(start, end []byte, q storage.Query, most int) (items []storage.Item) {
	collect := func(l *layer, hidden func(key string) bool) {
		n, size := 0, 0
		walk(&l.keys, start, end, q.Reverse, func(key string, p pending) bool {
			if hidden != nil && hidden(key) {
				return true
			}
			it, ok := v.item([]byte(key), p)
			if !ok {
				return true
			}
			if q.KeysOnly {
				it.Value = nil
			}
			items = append(items, it)
			n++
			size += len(it.Key) + len(it.Value)
			return n < most && (q.MaxBytes == 0 || n < 2 || size <= q.MaxBytes)
		})
	}
	collect(v.top, nil)
	if v.frozen != nil {
		collect(v.frozen, func(key string) bool {
			_, over := v.top.get([]byte(key))
			return over
		})
	}
	return items
}

// walk calls f with the keys in [start, end), in order, until it returns false.
func walk(keys *btree.Map[string, pending], start, end []byte, reverse bool, f func(string, pending) bool) {
	switch {
	case !reverse:
		keys.Ascend(string(start), func(key string, p pending) bool {
			return (end == nil || key < string(end)) && f(key, p)
		})
	case end == nil:
		keys.Reverse(func(key string, p pending) bool { return key >= string(start) && f(key, p) })
	default:
		keys.Descend(string(end), func(key string, p pending) bool {
			return key >= string(end) || key >= string(start) && f(key, p)
		})
	}
}

// cut keeps a page at what was asked for; the rest comes with the next.
func cut(page storage.Page, q storage.Query, most int) storage.Page {
	size := 0
	for i, it := range page.Items {
		size += len(it.Key) + len(it.Value)
		if i >= most || i > 0 && q.MaxBytes > 0 && size > q.MaxBytes {
			page.Next = bytes.Clone(it.Key)
			if q.Reverse {
				page.Next = storage.After(it.Key)
			}
			page.Items = page.Items[:i:i]
			break
		}
	}
	return page
}

// Changes returns [storage.ErrUnsupported]: what is buffered has no version yet.
func (b *Buffer) Changes(context.Context, storage.ChangeQuery) (storage.ChangePage, error) {
	return storage.ChangePage{}, storage.Errorf(storage.Unsupported, "a buffer has no versions")
}

// Health calls the next backend.
func (b *Buffer) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// lost lists the capabilities that a buffer takes away: what is buffered has no version
// yet, and does not survive anything.
const lost = storage.CapVersions | storage.CapRangeCheck | storage.CapSnapshotScan | storage.CapDurable | storage.CapIdempotent | storage.CapChanges | storage.CapChangeNotice

// Info returns the next backend's info, without versions and durability.
func (b *Buffer) Info() storage.Info {
	info := b.next.Info()
	info.Caps &^= lost
	info.Limits.IDCount, info.Limits.IDWindow = 0, 0
	info.Limits.Changes, info.Limits.ChangesAge = 0, 0
	return info
}
