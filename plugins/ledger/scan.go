package ledger

import (
	"bytes"
	"container/heap"
	"context"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Scan returns a page: see [storage.Backend]. The server lists in an order of its
// own, so that a page costs a look at all that is in the range from its start on,
// and at the whole vault on the server's side. More items there than the
// configuration allows are a RangeLimit.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, named("scan", err)
	}
	if q.AtVersion != 0 {
		return storage.Page{}, named("scan", storage.Errorf(storage.Unsupported, "there are no versions: a scan cannot be of one"))
	}
	if !b.calls.Enter() {
		return storage.Page{}, errClosed("scan")
	}
	defer b.calls.Leave()
	if err := storage.ContextError(ctx); err != nil {
		return storage.Page{}, named("scan", err)
	}
	if storage.EmptyRange(q.Start, q.End) {
		return storage.Page{}, nil
	}
	var page storage.Page
	var over int
	err := b.listed(ctx, "scan", b.reading, func(ctx context.Context, l *lister) (f *failure) {
		page, over, f = b.onePage(ctx, l, &q)
		return f
	})
	if err == nil && over > 0 {
		e := storage.LimitError(storage.RangeLimit, "range results", int64(b.config.MaxRangeResults), int64(over))
		e.Msg = "the range holds too many items to be put in order: it takes narrower bounds"
		err = named("scan", e)
	}
	if err != nil {
		return storage.Page{}, err
	}
	return page, nil
}

// onePage goes through the parts of q, in its direction, until the page is full. over
// is how many items were seen if those were too many.
func (b *Backend) onePage(ctx context.Context, l *lister, q *storage.Query) (page storage.Page, over int, _ *failure) {
	s := newSorter(q, b.config.MaxRangeResults, int(b.config.MaxRangeBytes))
	parts := cover(q.Start, q.End)
	if q.Reverse {
		slices.Reverse(parts)
	}
	for i, p := range parts {
		f := l.each(ctx, p.prefix, func(key, value []byte) bool {
			if storage.InRange(key, q.Start, q.End) {
				s.add(key, value)
			}
			return s.seen <= b.config.MaxRangeResults
		})
		if f != nil {
			return page, 0, f
		}
		if s.seen > b.config.MaxRangeResults {
			return page, s.seen, nil
		}
		if s.full() && i+1 < len(parts) && s.dropped == nil {
			if s.dropped = parts[i+1].first; q.Reverse {
				s.dropped = p.first // what is left is before it
				s.bound = true
			}
		}
		if s.dropped != nil {
			break
		}
	}
	page = s.page()
	start, end := q.Start, q.End // of the page
	switch {
	case page.Next == nil:
	case q.Reverse:
		start = page.Next
	default:
		end = page.Next
	}
	listed := make(map[string]bool, len(page.Items))
	for i := range page.Items {
		listed[string(page.Items[i].Key)] = true
	}
	return page, 0, l.whole(ctx, within(start, end), listed)
}

// sorter keeps the items that come first of all that it is given, as many as a page
// may have: what does not fit any more is dropped, with all that comes after it.
type sorter struct {
	q       *storage.Query
	limit   int // items
	budget  int // bytes of keys and values; one item is kept however large
	items   []storage.Item
	bytes   int
	seen    int
	dropped []byte // the first key that did not fit; nil if none
	bound   bool   // dropped is where to go on as it is
}

func newSorter(q *storage.Query, items, bytes int) *sorter {
	s := &sorter{q: q, limit: items, budget: bytes}
	if q.Limit > 0 {
		s.limit = min(s.limit, q.Limit)
	}
	if q.MaxBytes > 0 {
		s.budget = min(s.budget, q.MaxBytes)
	}
	return s
}

// before reports whether a comes before b in the direction of the scan.
func (s *sorter) before(a, b []byte) bool {
	if s.q.Reverse {
		a, b = b, a
	}
	return bytes.Compare(a, b) < 0
}

func (s *sorter) add(key, value []byte) {
	s.seen++
	if s.dropped != nil && !s.before(key, s.dropped) {
		return
	}
	it := storage.Item{Key: key}
	if !s.q.KeysOnly {
		if it.Value = value[:len(value):len(value)]; value == nil {
			it.Value = []byte{}
		}
	}
	heap.Push(s, it)
	s.bytes += len(it.Key) + len(it.Value)
	for len(s.items) > s.limit || s.bytes > s.budget && len(s.items) > 1 {
		last := heap.Pop(s).(storage.Item)
		s.bytes -= len(last.Key) + len(last.Value)
		s.dropped = last.Key
	}
}

// full reports whether no further item will fit.
func (s *sorter) full() bool { return len(s.items) >= s.limit || s.bytes >= s.budget }

// page returns what was kept, in order.
func (s *sorter) page() storage.Page {
	items := s.items
	slices.SortFunc(items, func(a, b storage.Item) int {
		if s.before(a.Key, b.Key) {
			return -1
		}
		return 1
	})
	p := storage.Page{Items: items, Next: s.dropped}
	if s.q.Reverse && s.dropped != nil && !s.bound {
		p.Next = storage.After(s.dropped) // an end, and so excluded
	}
	return p
}

// The items are a heap with the last on top.
func (s *sorter) Len() int           { return len(s.items) }
func (s *sorter) Less(i, j int) bool { return s.before(s.items[j].Key, s.items[i].Key) }
func (s *sorter) Swap(i, j int)      { s.items[i], s.items[j] = s.items[j], s.items[i] }
func (s *sorter) Push(x any)         { s.items = append(s.items, x.(storage.Item)) }
func (s *sorter) Pop() any {
	last := s.items[len(s.items)-1]
	s.items = s.items[:len(s.items)-1]
	return last
}
