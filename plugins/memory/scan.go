package memory

import (
	"context"

	"github.com/tidwall/btree"

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

// Scan answers one page, all of one state. One that is not the last leaves a
// snapshot for those that follow it with AtVersion.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	var items []storage.Item
	page, err := b.page(ctx, &q, func() { items = nil }, func(e *entry) { items = append(items, e.copied(q.KeysOnly)) })
	page.Items = items
	return page, err
}

// page walks the range, twice where a write comes between the page and its
// snapshot: then begin is called again.
func (b *Backend) page(ctx context.Context, q *storage.Query, begin func(), emit func(*entry)) (storage.Page, error) {
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
	b.snapshots.keep(page.Version, now, b.tree)
	return page, nil
}

func (b *Backend) scan(q *storage.Query, now int64, emit func(*entry)) (storage.Page, error) {
	if b.closed {
		return storage.Page{}, errClosed()
	}
	tree, version := b.tree, b.version
	if q.AtVersion != 0 && q.AtVersion != version {
		if tree = b.snapshots.find(q.AtVersion, now); tree == nil {
			return storage.Page{}, storage.Errorf(storage.Conflict, "the version to scan is not kept (any more)")
		}
		version = q.AtVersion
	}
	p := pager{q: q, now: now, emit: emit, items: limit(q.Limit, pageItems, maxItems), bytes: limit(q.MaxBytes, pageBytes, maxBytes), looks: maxLooks}
	if !storage.EmptyRange(q.Start, q.End) {
		p.walk(tree)
	}
	return storage.Page{Next: p.next, Version: version}, nil
}

func limit(asked, usual, most int) int {
	if asked == 0 {
		return usual
	}
	return min(asked, most)
}

// pager fills a page from a tree until something runs out.
type pager struct {
	q                   *storage.Query
	now                 int64
	emit                func(*entry)
	items, bytes, looks int  // what is left
	some                bool // there is an item
	next                []byte
}

func (p *pager) walk(tree *btree.Map[string, *entry]) {
	q := p.q
	switch {
	case !q.Reverse:
		tree.Ascend(borrow(q.Start), func(key string, e *entry) bool {
			if q.End != nil && key >= borrow(q.End) {
				return false
			}
			return p.take(e)
		})
	case q.End == nil:
		tree.Reverse(p.back)
	default:
		tree.Descend(borrow(q.End), p.back)
	}
}

func (p *pager) back(key string, e *entry) bool {
	if p.q.End != nil && key == borrow(p.q.End) {
		return true
	}
	return key >= borrow(p.q.Start) && p.take(e)
}

// take puts e onto the page, or ends it before e.
func (p *pager) take(e *entry) bool {
	expired := e.expiredAt(p.now)
	size := len(e.key)
	if !p.q.KeysOnly {
		size += len(e.bytes())
	}
	full := !expired && (p.items == 0 || p.some && size > p.bytes)
	if full || p.looks == 0 {
		p.next = []byte(e.key)
		if p.q.Reverse {
			p.next = storage.After(p.next)
		}
		return false
	}
	p.looks--
	if !expired {
		p.items--
		p.bytes -= size
		p.some = true
		p.emit(e)
	}
	return true
}
