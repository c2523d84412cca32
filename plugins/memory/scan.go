package memory

import (
	"bytes"
	"context"

	"github.com/plinthkv/plinth/storage"
)

// A page has at most maxItems items and looks at no more than maxLooks entries,
// so that a long run of expired ones holds the lock as briefly as any page.
const (
	pageItems = 1000
	pageBytes = 1 << 20
	maxItems  = 10_000
	maxBytes  = 8 << 20
	maxLooks  = 20_000
)

// Scan returns one page, all of one state. A page that is not the last keeps a snapshot
// for later pages with its AtVersion.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	var items []storage.Item
	page, err := b.page(ctx, &q, func() { items = nil }, func(it item) bool {
		items = append(items, b.copied(it, q.KeysOnly))
		return true
	})
	page.Items = items
	return page, err
}

// page walks the range, twice where a write comes between the page and its
// snapshot: then begin is called again.
func (b *Backend) page(ctx context.Context, q *storage.Query, begin func(), emit func(item) bool) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, err
	}
	if err := storage.ContextError(ctx); err != nil {
		return storage.Page{}, err
	}
	b.mu.RLock()
	page, err := b.scan(q, b.now(), emit)
	b.mu.RUnlock()
	if err != nil || page.Next == nil || q.AtVersion != 0 {
		return page, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.version != page.Version || b.closed { // a write came in between
		begin()
		if page, err = b.scan(q, now, emit); err != nil || page.Next == nil {
			return page, err
		}
	}
	b.keep(now)
	return page, nil
}

func (b *Backend) scan(q *storage.Query, now int64, emit func(item) bool) (storage.Page, error) {
	if b.closed {
		return storage.Page{}, errClosed()
	}
	at, version := -1, b.version
	if q.AtVersion != 0 && q.AtVersion != version {
		if at = b.snapshots.find(q.AtVersion, now); at < 0 {
			return storage.Page{}, storage.Errorf(storage.Conflict, "the version to scan is not kept (any more)")
		}
		version = q.AtVersion
	}
	p := pager{b: b, q: q, now: now, at: at, emit: emit, items: limit(q.Limit, pageItems, maxItems), bytes: limit(q.MaxBytes, pageBytes, maxBytes), looks: maxLooks}
	if !storage.EmptyRange(q.Start, q.End) {
		p.walk()
	}
	if p.err != nil {
		return storage.Page{}, p.err
	}
	return storage.Page{Next: p.next, Version: version}, nil
}

func limit(asked, usual, most int) int {
	if asked == 0 {
		return usual
	}
	return min(asked, most)
}

// pager fills a page until something runs out.
type pager struct {
	b                   *Backend
	q                   *storage.Query
	now                 int64
	at                  int             // the snapshot; -1: the present
	emit                func(item) bool // puts it onto the page, if there is room
	items, bytes, looks int             // what is left
	some                bool            // there is an item
	next                []byte
	err                 error
}

func (p *pager) walk() {
	q := p.q
	if !q.Reverse {
		for c := p.b.all.seek(keyTarget(q.Start, 0)); ; c.next() {
			r := c.item()
			if r == 0 {
				return
			}
			it := p.b.item(r)
			key := p.b.key(it)
			if q.End != nil && bytes.Compare(key, q.End) >= 0 || !p.take(it, key) {
				return
			}
		}
	}
	c := p.b.all.end()
	if q.End != nil {
		c = p.b.all.seek(keyTarget(q.End, 0))
	}
	for c.prev() {
		it := p.b.item(c.item())
		key := p.b.key(it)
		if bytes.Compare(key, q.Start) < 0 || !p.take(it, key) {
			return
		}
	}
}

// visible reports whether the page shows an item.
func (p *pager) visible(it item) bool {
	if it.expiredAt(p.now) {
		return false
	}
	if p.at < 0 {
		return !it.dead()
	}
	return p.b.sees(p.at, it)
}

// take puts an item onto the page, or ends it before that.
func (p *pager) take(it item, key []byte) bool {
	visible := p.visible(it)
	size := len(key)
	if !p.q.KeysOnly {
		size += it.valueLen()
	}
	full := visible && (p.items == 0 || p.some && size > p.bytes)
	if full || p.looks == 0 {
		return p.end(key)
	}
	p.looks--
	if visible {
		if !p.emit(it) {
			if p.some {
				return p.end(key)
			}
			p.err = storage.LimitError(storage.RangeLimit, "answer bytes", int64(p.bytes), int64(size))
			return false
		}
		p.items--
		p.bytes -= size
		p.some = true
	}
	return true
}

// end ends the page before an item of this key.
func (p *pager) end(key []byte) bool {
	if p.next = bytes.Clone(key); p.next == nil {
		p.next = []byte{}
	}
	if p.q.Reverse {
		p.next = storage.After(p.next)
	}
	return false
}
