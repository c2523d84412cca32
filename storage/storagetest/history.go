package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/plinthkv/plinth/storage"
)

// History records what concurrent clients do to a backend and reports whether it
// is linearizable: whether each call could have happened at one moment between
// its begin and its end. It starts from what is stored when it is made; nothing
// else may write meanwhile, and nothing may expire. It is safe for concurrent
// use.
type History struct {
	next  storage.Backend
	caps  storage.Caps
	first state
	start time.Time

	mu      sync.Mutex
	calls   []porcupine.Operation
	clients int
}

// NewHistory returns the history of b from now on.
func NewHistory(ctx context.Context, b storage.Backend) (*History, error) {
	h := &History{next: b, caps: b.Info().Caps, start: time.Now()}
	q := storage.Query{}
	h.first.items = map[string]storage.Item{}
	for {
		page, err := b.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, it := range page.Items {
			h.first.items[string(it.Key)] = it
		}
		h.first.version = page.Version
		if page.Next == nil {
			return h, nil
		}
		q.Start = page.Next
	}
}

// Client returns the backend as one client sees it, whose calls are recorded. A
// client makes one call at a time.
func (h *History) Client() storage.Backend { return h.Through(h.next, 0) }

// Through returns one client's view of the same store through another backend, such as a cache,
// whose Get may answer what was stored up to stale ago.
func (h *History) Through(b storage.Backend, stale time.Duration) storage.Backend {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients++
	return &historian{h, b, h.clients - 1, stale}
}

// call is the input of an operation: one of these.
type call struct {
	get   []byte
	many  [][]byte
	scan  *storage.Query
	apply *storage.WriteSet
}

// result is its output.
type result struct {
	items   []storage.Item // of get: one or none
	page    storage.Page
	version uint64
	failed  int  // the check that failed, -1: not said, or none
	refused bool // Conflict
	unknown bool // it may happen at any time from its begin, or never
}

// record adds a call. One that certainly did nothing is left out.
func (h *History) record(client int, c call, r result, begin time.Duration, err error) {
	meet()
	end := int64(time.Since(h.start))
	e := storage.AsError(err)
	switch {
	case err == nil, errors.Is(err, storage.ErrNotFound):
	case c.apply == nil:
		return
	case e.Unknown:
		r.unknown, end = true, math.MaxInt64
	case e.Code == storage.Conflict:
		r.refused, r.failed = true, e.FailedCheck()
	default:
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, porcupine.Operation{ClientId: client, Input: c, Call: int64(begin), Output: r, Return: end})
}

// historian records one client of a history.
type historian struct {
	h      *History
	next   storage.Backend
	client int
	stale  time.Duration
}

// begin returns the moment before a call. Now and then it lets others run between
// that and the call, as end does after it: calls that take less than a
// microsecond would hardly ever meet.
func (c *historian) begin() time.Duration {
	now := time.Since(c.h.start)
	meet()
	return now
}

func meet() {
	if rand.IntN(3) == 0 {
		runtime.Gosched()
	}
}

func (c *historian) Get(ctx context.Context, key []byte) (storage.Item, error) {
	begin := c.begin()
	it, err := c.next.Get(ctx, key)
	r := result{}
	if err == nil {
		own := it
		own.Key, own.Value = copied(key), copied(it.Value)
		r.items = []storage.Item{own}
	}
	c.h.record(c.client, call{get: copied(key)}, r, begin-c.stale, err)
	return it, err
}

// GetMany counts where it is one view.
func (c *historian) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	begin := c.begin()
	items, err := c.next.GetMany(ctx, keys)
	if c.h.caps.Has(storage.CapSnapshotGet) {
		own := make([][]byte, len(keys))
		for i := range keys {
			own[i] = copied(keys[i])
		}
		c.h.record(c.client, call{many: own}, result{items: copiedItems(items)}, begin, err)
	}
	return items, err
}

func (c *historian) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	begin := c.begin()
	page, err := c.next.Scan(ctx, q)
	if q.AtVersion == 0 { // what is of the past says nothing of now
		own := page
		own.Items = copiedItems(page.Items)
		c.h.record(c.client, call{scan: &q}, result{page: own}, begin, err)
	}
	return page, err
}

// Changes is not recorded: it says what was.
func (c *historian) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return c.next.Changes(ctx, q)
}

func (c *historian) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	own := copiedWriteSet(w)
	begin := c.begin()
	version, err := c.next.Apply(ctx, w)
	c.h.record(c.client, call{apply: own}, result{version: version, failed: -1}, begin, err)
	return version, err
}

func (c *historian) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return c.next.Health(ctx, p)
}

func (c *historian) Info() storage.Info { return c.next.Info() }

// Close does nothing: the backend is its owner's.
func (c *historian) Close(context.Context) error { return nil }

func copiedItems(items []storage.Item) []storage.Item {
	own := make([]storage.Item, len(items))
	for i, it := range items {
		own[i] = it
		own[i].Key = copied(it.Key)
		if it.Value != nil {
			own[i].Value = copied(it.Value)
		}
	}
	return own
}

func copiedWriteSet(w *storage.WriteSet) *storage.WriteSet {
	own := &storage.WriteSet{ID: w.ID}
	for _, c := range w.Checks {
		c.Key, c.Value = copied(c.Key), copied(c.Value)
		if c.End != nil {
			c.End = copied(c.End)
		}
		own.Checks = append(own.Checks, c)
	}
	for _, o := range w.Ops {
		o.Key, o.Value = copied(o.Key), copied(o.Value)
		if o.End != nil {
			o.End = copied(o.End)
		}
		own.Ops = append(own.Ops, o)
	}
	return own
}

// ErrHistoryInvalid reports that too little happened in a history for it to prove anything.
var ErrHistoryInvalid = errors.New("the history is invalid")

// Check reports whether the history is linearizable. One of fewer than atLeast
// calls, or without calls that overlap, is [ErrHistoryInvalid]; so is one that
// cannot be decided within patience.
func (h *History) Check(atLeast int, patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.calls); n < atLeast {
		return fmt.Errorf("%w: it has %d calls that came to something, want at least %d", ErrHistoryInvalid, n, atLeast)
	}
	if n := overlaps(h.calls); n < atLeast/20 {
		return fmt.Errorf("%w: of its %d calls %d overlap with another", ErrHistoryInvalid, len(h.calls), n)
	}
	m := linear{versions: h.caps.Has(storage.CapVersions), first: h.first}.model()
	switch outcome, info := porcupine.CheckOperationsVerbose(m, h.calls, patience); outcome {
	case porcupine.Illegal:
		return fmt.Errorf("the history of %d calls is not linearizable: %s", len(h.calls), stuck(info, h.calls))
	case porcupine.Unknown:
		return fmt.Errorf("%w: its %d calls could not be decided within %s", ErrHistoryInvalid, len(h.calls), patience)
	}
	return nil
}

// overlaps counts the calls that began before one that began earlier had ended.
func overlaps(calls []porcupine.Operation) (n int) {
	for i, c := range calls {
		for j := max(0, i-16); j < min(len(calls), i+16); j++ {
			if o := calls[j]; o.ClientId != c.ClientId && o.Call < c.Call && c.Call < o.Return {
				n++
				break
			}
		}
	}
	return n
}

// stuck shows how far the longest attempt at an order came, and what could not follow.
func stuck(info porcupine.LinearizationInfo, calls []porcupine.Operation) string {
	var best []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(best) {
				best = order
			}
		}
	}
	done := map[int64]bool{}
	for _, c := range best {
		done[c.Call] = true
	}
	text := fmt.Sprintf("%d of them have an order, ending in", len(best))
	for _, c := range best[max(0, len(best)-5):] {
		text += "\n  " + describe(c)
	}
	text += "\nand none of these can come next:"
	shown, horizon := 0, int64(math.MaxInt64)
	for _, c := range calls {
		if !done[c.Call] {
			horizon = min(horizon, c.Return)
		}
	}
	for _, c := range calls {
		if !done[c.Call] && c.Call <= horizon && shown < 10 {
			shown++
			text += "\n  " + describe(c)
		}
	}
	return text
}
