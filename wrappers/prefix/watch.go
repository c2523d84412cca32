package prefix

import (
	"bytes"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Watch notifies w of the writes within the prefix, under the names that keys have
// above it.
func (b *Backend) Watch(w wrappers.Watcher) (stop func()) {
	if b.hub == nil {
		return func() {}
	}
	return b.hub.Watch(watcher{b, w})
}

// Follow has the watchers notified of the writes of others, if the hub below can do that.
func (b *Backend) Follow(bound time.Duration) (f *wrappers.Freshness, stop func()) {
	if below, ok := b.hub.(wrappers.Following); ok {
		return below.Follow(bound)
	}
	return nil, func() {}
}

// watcher passes on what concerns the prefix.
type watcher struct {
	b    *Backend
	next wrappers.Watcher
}

func (w watcher) Begin(set *storage.WriteSet) { w.next.Begin(w.b.within(set)) }

func (w watcher) End(set *storage.WriteSet, err error) { w.next.End(w.b.within(set), err) }

func (w watcher) Others(set *storage.WriteSet) { w.next.Others(w.b.within(set)) }

func (w watcher) Lost() { w.next.Lost() }

// within returns the part of a write set that touches the prefix, with its keys as they are
// called above it.
func (b *Backend) within(w *storage.WriteSet) *storage.WriteSet {
	own := &storage.WriteSet{ID: w.ID}
	for _, o := range w.Ops {
		if o.Kind == storage.OpDeleteRange {
			if start, end, ok := b.clip(o.Key, o.End); ok {
				o.Key, o.End = start, end
				own.Ops = append(own.Ops, o)
			}
		} else if bytes.HasPrefix(o.Key, b.prefix) {
			o.Key = o.Key[len(b.prefix):]
			own.Ops = append(own.Ops, o)
		}
	}
	for _, c := range w.Checks {
		if c.Kind == storage.CheckRange {
			if start, end, ok := b.clip(c.Key, c.End); ok {
				c.Key, c.End = start, end
				own.Checks = append(own.Checks, c)
			}
		} else if bytes.HasPrefix(c.Key, b.prefix) {
			c.Key = c.Key[len(b.prefix):]
			own.Checks = append(own.Checks, c)
		}
	}
	return own
}

// clip returns the part of [start, end) that lies within the prefix.
func (b *Backend) clip(start, end []byte) (from, to []byte, ok bool) {
	if bytes.Compare(start, b.prefix) < 0 {
		start = b.prefix
	}
	if end == nil || b.end != nil && bytes.Compare(end, b.end) > 0 {
		end = b.end
	}
	if storage.EmptyRange(start, end) || !bytes.HasPrefix(start, b.prefix) {
		return nil, nil, false
	}
	if !bytes.HasPrefix(end, b.prefix) { // it is the prefix's own end
		return start[len(b.prefix):], nil, true
	}
	return start[len(b.prefix):], end[len(b.prefix):], true
}
