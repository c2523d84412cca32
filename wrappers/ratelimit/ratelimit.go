package ratelimit

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend refuses what a tenant has no tokens for. It is safe for concurrent use.
type Backend struct {
	next    storage.Backend
	config  Config
	clock   func() time.Time
	log     *slog.Logger
	layer   string
	common  *bucket // of keys without a tenant
	buckets *buckets
	warned  atomic.Int64 // when the overflow was logged last, in ms

	allowed, refused, overflowed wrappers.Counter
	stop                         func() // stops the gauge
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (_ *Backend, err error) {
	b := &Backend{next: next, config: c, clock: s.Clock, log: s.Log, layer: s.Stage, common: newBucket(Quota{c.Rate, c.Burst}), buckets: newBuckets(c)}
	if before, ok := s.Before.(*Backend); ok { // what callers have used up stays used up
		b.common, b.buckets = before.common, before.buckets
	}
	if b.clock == nil {
		b.clock = clock.System().Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	for _, one := range []struct {
		counter  *wrappers.Counter
		decision string
	}{{&b.allowed, "allowed"}, {&b.refused, "refused"}} {
		if *one.counter, err = s.Counter("plinth.rate_limit.decisions", "{call}", "Calls that were allowed or refused.",
			attribute.String("plinth.decision", one.decision)); err != nil {
			return nil, err
		}
	}
	if b.overflowed, err = s.Counter("plinth.rate_limit.overflow", "{call}", "Calls of tenants that share a bucket, because there are too many."); err != nil {
		return nil, err
	}
	b.stop, err = s.Gauge("plinth.rate_limit.tenants", "{tenant}", "Tenants with a bucket of their own, not counting configured ones.", b.buckets.count.Load)
	return b, err
}

// bucketOf returns the bucket that pays for a key.
func (b *Backend) bucketOf(key []byte, now time.Time) *bucket {
	return b.bucket(now)(b.config.Tenant.Of(key))
}

// bucketOfRange returns the bucket that pays for a range.
func (b *Backend) bucketOfRange(start, end []byte, now time.Time) *bucket {
	return b.bucket(now)(b.config.Tenant.OfRange(start, end))
}

func (b *Backend) bucket(now time.Time) func(tenant []byte, ok bool) *bucket {
	return func(tenant []byte, ok bool) *bucket {
		if !ok {
			return b.common
		}
		own, shared := b.buckets.of(tenant, now)
		if shared {
			b.overflow(now)
		}
		return own
	}
}

// overflow logs, once a minute, that there are more tenants than buckets.
func (b *Backend) overflow(now time.Time) {
	b.overflowed.Add(1)
	last := b.warned.Load()
	if ms := now.UnixMilli(); ms-last >= time.Minute.Milliseconds() && b.warned.CompareAndSwap(last, ms) {
		b.log.Warn("more tenants than max_tenants: the further ones share buckets", "max_tenants", b.config.MaxTenants)
	}
}

// weight returns what bytes cost, beyond the op.
func (b *Backend) weight(bytes int) int {
	if b.config.BytesPerToken == 0 {
		return 0
	}
	return bytes / b.config.BytesPerToken
}

// enter takes n tokens before a call.
func (b *Backend) enter(from *bucket, now time.Time, n int, op string) error {
	if after, ok := from.take(now, n); !ok {
		return b.refuse(after, op)
	}
	b.allowed.Add(1)
	return nil
}

func (b *Backend) refuse(after time.Duration, op string) error {
	b.refused.Add(1)
	return &storage.Error{Code: storage.RateLimited, Op: op, Layer: b.layer, RetryAfter: after}
}

// Get costs a token, and its value's bytes.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	now := b.clock()
	from := b.bucketOf(key, now)
	if err := b.enter(from, now, 1, "get"); err != nil {
		return storage.Item{}, err
	}
	it, err := b.next.Get(ctx, key)
	if n := b.weight(len(it.Value)); n > 0 {
		now = b.clock() // the bucket may have been forgotten meanwhile
		b.bucketOf(key, now).charge(now, n)
	}
	return it, err
}

// GetMany costs a token for each key, of its own tenant, and the values' bytes.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	now := b.clock()
	var due bill
	for _, key := range keys {
		due.add(b.bucketOf(key, now), 1)
	}
	if err := b.enterAll(due, now, "get_many"); err != nil {
		return nil, err
	}
	items, err := b.next.GetMany(ctx, keys)
	now = b.clock()
	for i := range items {
		if n := b.weight(len(items[i].Value)); n > 0 {
			b.bucketOf(items[i].Key, now).charge(now, n)
		}
	}
	return items, err
}

// Scan costs a token, and the page's rows and bytes.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	now := b.clock()
	from := b.bucketOfRange(q.Start, q.End, now)
	if err := b.enter(from, now, 1, "scan"); err != nil {
		return storage.Page{}, err
	}
	page, err := b.next.Scan(ctx, q)
	bytes := 0
	for i := range page.Items {
		bytes += len(page.Items[i].Value)
	}
	b.chargePage(q.Start, q.End, len(page.Items), bytes)
	return page, err
}

// Changes costs a token, and the page's changes and bytes as a scan's rows.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	now := b.clock()
	from := b.bucketOfRange(q.Start, q.End, now)
	if err := b.enter(from, now, 1, "changes"); err != nil {
		return storage.ChangePage{}, err
	}
	page, err := b.next.Changes(ctx, q)
	bytes := 0
	for i := range page.Changes {
		bytes += len(page.Changes[i].Value)
	}
	b.chargePage(q.Start, q.End, len(page.Changes), bytes)
	return page, err
}

// chargePage charges for the rows of a page and the bytes of their values.
func (b *Backend) chargePage(start, end []byte, rows, bytes int) {
	n := b.weight(bytes)
	if b.config.RowsPerToken > 0 {
		n += rows / b.config.RowsPerToken
	}
	if n > 0 {
		now := b.clock()
		b.bucketOfRange(start, end, now).charge(now, n)
	}
}

// Apply costs a token for each op and check, and the bytes of values that are
// written and compared with, of the tenants whose keys they are. All of them can
// pay, or nothing is done.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	now := b.clock()
	var due bill
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			due.add(b.bucketOfRange(o.Key, o.End, now), 1)
		} else {
			due.add(b.bucketOf(o.Key, now), 1+b.weight(len(o.Value)))
		}
	}
	for i := range w.Checks {
		c := &w.Checks[i]
		if c.Kind == storage.CheckRange {
			due.add(b.bucketOfRange(c.Key, c.End, now), 1)
		} else {
			due.add(b.bucketOf(c.Key, now), 1+b.weight(len(c.Value)))
		}
	}
	if err := b.enterAll(due, now, "apply"); err != nil {
		return 0, err
	}
	return b.next.Apply(ctx, w)
}

// bill lists what a call costs each of several buckets, each of them once.
type bill struct {
	due []due
	at  map[*bucket]int // where in due, once there are more than a few
}

type due struct {
	from *bucket
	n    int
}

// few limits how many buckets a bill looks through one by one.
const few = 16

func (d *bill) add(from *bucket, n int) {
	if at, ok := d.find(from); ok {
		d.due[at].n += n
		return
	}
	d.due = append(d.due, due{from, n})
	switch {
	case d.at != nil:
		d.at[from] = len(d.due) - 1
	case len(d.due) > few:
		d.at = make(map[*bucket]int, 2*few)
		for i := range d.due {
			d.at[d.due[i].from] = i
		}
	}
}

func (d *bill) find(from *bucket) (at int, ok bool) {
	if d.at != nil {
		at, ok = d.at[from]
		return at, ok
	}
	for i := len(d.due) - 1; i >= 0; i-- {
		if d.due[i].from == from {
			return i, true
		}
	}
	return 0, false
}

// enterAll takes what is due from each bucket, or nothing from any.
func (b *Backend) enterAll(all bill, now time.Time, op string) error {
	if len(all.due) == 0 {
		return nil
	}
	for i, d := range all.due {
		if after, ok := d.from.take(now, d.n); !ok {
			for _, paid := range all.due[:i] {
				paid.from.giveBack(paid.n)
			}
			return b.refuse(after, op)
		}
	}
	b.allowed.Add(1)
	return nil
}

// Health calls next's Health without charging for it.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close stops the metrics. It is idempotent.
func (b *Backend) Close(context.Context) error {
	b.stop()
	return nil
}

var _ storage.Backend = (*Backend)(nil)
