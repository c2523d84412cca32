package prefix

import (
	"bytes"
	"context"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend exposes the part of the next whose keys begin with a prefix. It is safe for
// concurrent use.
type Backend struct {
	next   storage.Backend
	prefix []byte
	end    []byte // the first key beyond the prefix, or nil if there is none
	layer  string
	hub    wrappers.Watchable // nil if the backend cannot be watched
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	b := &Backend{next: next, prefix: []byte(c.Prefix), layer: s.Stage, hub: s.Hub}
	b.end = storage.PrefixEnd(b.prefix)
	if l := next.Info().Limits; l.Key > 0 && l.Key <= len(b.prefix) || l.WriteBytes > 0 && l.WriteBytes <= 2*len(b.prefix)*l.Ops {
		return nil, wrappers.Fieldf("prefix", "%d bytes leave no room within the limits of the backend below (key %d, write set %d)", len(b.prefix), l.Key, l.WriteBytes)
	}
	return b, nil
}

// limits returns those above the prefix: whatever keeps to them, keeps to l below. One
// that leaves no room any more is the least there is, for 0 would be none.
func (b *Backend) limits(l storage.Limits) storage.Limits {
	n := len(b.prefix)
	if l.Key > 0 {
		l.Key = max(1, l.Key-n)
	}
	if l.WriteBytes > 0 && l.Ops > 0 {
		l.WriteBytes = max(1, l.WriteBytes-2*n*l.Ops) // an op or check names two keys at most
	}
	return l
}

// below returns key as the next knows it.
func (b *Backend) below(key []byte) []byte {
	return append(append(make([]byte, 0, len(b.prefix)+len(key)), b.prefix...), key...)
}

// belowEnd returns the end of a range as the next knows it.
func (b *Backend) belowEnd(end []byte) []byte {
	if end == nil {
		return b.end
	}
	return b.below(end)
}

// above takes the prefix from a key that next returned.
func (b *Backend) above(key []byte) ([]byte, error) {
	if !bytes.HasPrefix(key, b.prefix) {
		return nil, &storage.Error{Code: storage.Internal, Layer: b.layer, Msg: "the backend returned a key outside of the prefix"}
	}
	return key[len(b.prefix):], nil
}

func (b *Backend) aboveAll(items []storage.Item) (err error) {
	for i := range items {
		if items[i].Key, err = b.above(items[i].Key); err != nil {
			return err
		}
	}
	return nil
}

// Get asks for the key below.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := b.limits(b.next.Info().Limits).CheckKey(key); err != nil {
		return storage.Item{}, b.refused("get", err)
	}
	it, err := b.next.Get(ctx, b.below(key))
	it.Key = nil
	return it, err
}

// GetMany asks for the keys below.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	l := b.limits(b.next.Info().Limits)
	below := make([][]byte, len(keys))
	for i, key := range keys {
		if err := l.CheckKey(key); err != nil {
			return nil, b.refused("get_many", err)
		}
		below[i] = b.below(key)
	}
	items, err := b.next.GetMany(ctx, below)
	if err == nil {
		err = b.aboveAll(items)
	}
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Scan asks for a page within the prefix.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	q.Start, q.End = b.below(q.Start), b.belowEnd(q.End)
	page, err := b.next.Scan(ctx, q)
	if err != nil {
		return storage.Page{}, err
	}
	if err := b.aboveAll(page.Items); err != nil {
		return storage.Page{}, err
	}
	switch {
	case page.Next == nil:
	case bytes.HasPrefix(page.Next, b.prefix):
		page.Next = page.Next[len(b.prefix):]
	default: // the bound is the prefix's own end: nothing is left
		page.Next = nil
	}
	return page, nil
}

// Changes asks for the changes within the prefix.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	q.Start, q.End = b.below(q.Start), b.belowEnd(q.End)
	page, err := b.next.Changes(ctx, q)
	if err != nil {
		return storage.ChangePage{}, err
	}
	for i := range page.Changes {
		if err := b.aboveChange(&page.Changes[i]); err != nil {
			return storage.ChangePage{}, err
		}
	}
	return page, nil
}

// aboveChange takes the prefix from the keys of a change.
func (b *Backend) aboveChange(c *storage.Change) (err error) {
	if c.Kind == storage.ChangeDeleteRange {
		start, end, ok := b.clip(c.Key, c.End)
		if !ok {
			start, end = nil, []byte{} // nothing of it is within the prefix
		}
		c.Key, c.End = start, end
		return nil
	}
	c.Key, err = b.above(c.Key)
	return err
}

// Apply writes below. Checks keep their places, so that an error names the
// caller's.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.next.Info()
	if err := w.CheckSizes(b.limits(info.Limits)); err != nil {
		return 0, b.refused("apply", err)
	}
	own := storage.WriteSet{ID: w.ID, Checks: make([]storage.Check, len(w.Checks)), Ops: make([]storage.Op, len(w.Ops))}
	for i, c := range w.Checks {
		c.Key = b.below(c.Key)
		if c.Kind == storage.CheckRange {
			c.End = b.belowEnd(c.End)
		}
		own.Checks[i] = c
	}
	for i, o := range w.Ops {
		o.Key = b.below(o.Key)
		if o.Kind == storage.OpDeleteRange {
			o.End = b.belowEnd(o.End)
		}
		own.Ops[i] = o
	}
	return b.next.Apply(ctx, &own)
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next's, with the room that the prefix leaves.
func (b *Backend) Info() storage.Info {
	info := b.next.Info()
	info.Limits = b.limits(info.Limits)
	return info
}

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

func (b *Backend) refused(op string, err error) error {
	e := *storage.AsError(err)
	e.Layer, e.Op = b.layer, op
	return &e
}

var (
	_ storage.Backend    = (*Backend)(nil)
	_ wrappers.Following = (*Backend)(nil)
)
