package storagetest_test

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// changed is a fault of the write sets that reach the backend: each is handed to change as
// a copy whose lists are its own.
func changed(change func(p *planted, w *storage.WriteSet)) func(*planted, *storagetest.Clock) {
	return func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := storage.WriteSet{ID: w.ID, Checks: slices.Clone(w.Checks), Ops: slices.Clone(w.Ops)}
			change(p, &own)
			return p.Backend.Apply(ctx, &own)
		}
	}
}

// refused is a fault of what is refused, and as what, before the backend sees it.
func refused(judge func(p *planted, w *storage.WriteSet) error) func(*planted, *storagetest.Clock) {
	return func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if err := judge(p, w); err != nil {
				return 0, err
			}
			return p.Backend.Apply(ctx, w)
		}
	}
}

// scanned is a fault of pages.
func scanned(change func(q *storage.Query), answered func(q storage.Query, page *storage.Page)) func(*planted, *storagetest.Clock) {
	return func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			asked := q
			if change != nil {
				change(&q)
			}
			page, err := p.Backend.Scan(ctx, q)
			if err == nil && answered != nil {
				answered(asked, &page)
			}
			return page, err
		}
	}
}

// without is a model that claims less.
func without(caps storage.Caps, plant func(*planted, *storagetest.Clock)) func(*planted, *storagetest.Clock) {
	return func(p *planted, clock *storagetest.Clock) {
		info := p.Backend.Info()
		info.Caps &^= caps
		p.Backend = storagetest.NewModel(clock.Now, info)
		plant(p, clock)
	}
}

// authorFaults are what authors of plugins do wrong.
var authorFaults = []fault{
	{"put and delete of a key are no change", []string{"versions/put_and_delete_at_once_are_a_change"}, changed(func(p *planted, w *storage.WriteSet) {
		for i := len(w.Ops) - 1; i > 0; i-- {
			if w.Ops[i].Kind == storage.OpDelete && w.Ops[i-1].Kind == storage.OpPut && bytes.Equal(w.Ops[i].Key, w.Ops[i-1].Key) {
				w.Ops = slices.Delete(w.Ops, i-1, i)
			}
		}
	})},
	{"every put takes a version", []string{"versions/what_has_expired_is_no_change"}, func(p *planted, clock *storagetest.Clock) {
		shift := uint64(0)
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(ctx, w)
			for _, o := range w.Ops {
				if err == nil && o.Kind == storage.OpPut && storage.Expired(o.ExpiresAt, clock.Now()) {
					shift = 1
					return v + shift, err
				}
			}
			return v, err
		}
	}},
	{"a range check sees what has expired", []string{"cas/range_check_and_expiry"}, func(p *planted, clock *storagetest.Clock) {
		start := clock.Now()
		forever := storagetest.NewModel(func() time.Time { return start }, p.Backend.Info())
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for i, c := range w.Checks {
				if c.Kind == storage.CheckRange {
					if _, err := forever.Apply(ctx, &storage.WriteSet{Checks: []storage.Check{c}}); storage.CodeOf(err) == storage.Conflict {
						return 0, storage.ConflictAt(i)
					}
				}
			}
			v, err := p.Backend.Apply(ctx, w)
			if err == nil {
				forever.Apply(ctx, &storage.WriteSet{Ops: w.Ops})
			}
			return v, err
		}
	}},
	{"a range check of 100 keys at most", []string{"cas/range_check_of_many_keys"}, changed(func(p *planted, w *storage.WriteSet) {
		for i, c := range w.Checks {
			if c.Kind == storage.CheckRange {
				if page, err := p.Backend.Scan(context.Background(), storage.Query{Start: c.Key, End: c.End, Limit: 100, KeysOnly: true}); err == nil && page.Next != nil {
					w.Checks[i].End = page.Next
				}
			}
		}
	})},
	{"a range delete of 100 keys at most", []string{"clear_range/of_many_keys"}, changed(func(p *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if o.Kind == storage.OpDeleteRange {
				if page, err := p.Backend.Scan(context.Background(), storage.Query{Start: o.Key, End: o.End, Limit: 100, KeysOnly: true}); err == nil && page.Next != nil {
					w.Ops[i].End = page.Next
				}
			}
		}
	})},
	{"a range delete of 1000 keys at most", []string{"clear_range/of_many_keys"}, changed(func(p *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if o.Kind != storage.OpDeleteRange {
				continue
			}
			at := o.Key
			for range 10 {
				page, err := p.Backend.Scan(context.Background(), storage.Query{Start: at, End: o.End, Limit: 100, KeysOnly: true})
				if err != nil || page.Next == nil {
					at = o.End
					break
				}
				at = page.Next
			}
			w.Ops[i].End = at
		}
	})},
	{"a scan of 1000 keys at most", []string{"clear_range/of_many_keys"}, func(p *planted, _ *storagetest.Clock) {
		n := 0
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			if len(q.Start) == 0 {
				n = 0
			}
			if n += len(page.Items); n >= 1000 {
				page.Next = nil
			}
			return page, err
		}
	}},
	{"max bytes counts values alone", []string{"scan/max_bytes_of_every_scan"}, scanned(func(q *storage.Query) {
		if q.MaxBytes > 0 {
			q.MaxBytes += q.MaxBytes / 49
		}
	}, nil)},
	{"max bytes does not hold backwards", []string{"scan/max_bytes_of_every_scan"}, scanned(func(q *storage.Query) {
		if q.Reverse {
			q.MaxBytes = 0
		}
	}, nil)},
	{"max bytes does not hold for keys only", []string{"scan/max_bytes_of_every_scan"}, scanned(func(q *storage.Query) {
		if q.KeysOnly {
			q.MaxBytes = 0
		}
	}, nil)},
	{"the past as it was then: what has expired since is there", []string{"scan/at_version_after_an_expiry"}, func(p *planted, clock *storagetest.Clock) {
		start := clock.Now()
		forever := storagetest.NewModel(func() time.Time { return start }, p.Backend.Info())
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(ctx, w)
			if err == nil {
				forever.Apply(ctx, &storage.WriteSet{Ops: w.Ops})
			}
			return v, err
		}
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			if q.AtVersion != 0 && err == nil {
				page, err = forever.Scan(ctx, q)
			} else if err == nil {
				forever.Scan(ctx, q)
			}
			return page, err
		}
	}},
	{"a page of the past says the present version", []string{"scan/at_version"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			if now, e := p.Backend.Scan(ctx, storage.Query{Limit: 1}); e == nil && err == nil {
				page.Version = now.Version
			}
			return page, err
		}
	}},
	{"ids are told apart by their first half", []string{"idempotency/every_byte_of_an_id_counts"}, changed(func(_ *planted, w *storage.WriteSet) { clear(w.ID[8:]) })},
	{"ids are told apart by their second half", []string{"idempotency/every_byte_of_an_id_counts"}, changed(func(_ *planted, w *storage.WriteSet) { clear(w.ID[:8]) })},
	{"ids as text: up to a zero byte", []string{"idempotency/every_byte_of_an_id_counts"}, changed(func(_ *planted, w *storage.WriteSet) {
		if i := bytes.IndexByte(w.ID[:], 0); i > 0 {
			clear(w.ID[i:])
		}
	})},
	{"the same ops in another order are the same content", []string{"idempotency/another_content_is_refused"}, func(p *planted, _ *storagetest.Clock) {
		first := map[[16]byte]*storage.WriteSet{}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if f := first[w.ID]; f != nil && len(f.Ops) == 2 && len(w.Ops) == 2 && bytes.Equal(f.Ops[0].Key, w.Ops[1].Key) && bytes.Equal(f.Ops[1].Key, w.Ops[0].Key) {
				w = f
			}
			v, err := p.Backend.Apply(ctx, w)
			if err == nil && w.ID != [16]byte{} && first[w.ID] == nil {
				c := *w
				first[w.ID] = &c
			}
			return v, err
		}
	}},
	{"ends do not count as bytes of a write set", []string{"limits/bytes_that_are_compared_count"}, changed(func(p *planted, w *storage.WriteSet) {
		for i := range w.Ops {
			if len(w.Ops[i].End) > 100 {
				w.Ops[i].End = w.Ops[i].End[:100]
			}
		}
	})},
	{"compared values do not count as bytes of a write set", []string{"limits/bytes_that_are_compared_count"}, changed(func(p *planted, w *storage.WriteSet) {
		for i := range w.Checks {
			if len(w.Checks[i].Value) > 10000 {
				w.Checks[i].Value = w.Checks[i].Value[:10000]
			}
		}
	})},
	{"compared values have the limit of values", []string{"limits/a_value_that_is_compared_is_exempt"}, refused(func(p *planted, w *storage.WriteSet) error {
		for _, c := range w.Checks {
			if err := p.Info().Limits.CheckValue(c.Value); err != nil {
				return err
			}
		}
		return nil
	})},
	{"expiries are rounded down", []string{"ttl/never_early_and_less_than_a_step_late"}, without(storage.CapExpiryOnRead, func(p *planted, _ *storagetest.Clock) {
		info := p.Backend.Info()
		info.Limits.TTLPrecision = time.Second
		p.info = func() storage.Info { return info }
		changed(func(_ *planted, w *storage.WriteSet) {
			for i, o := range w.Ops {
				if !o.ExpiresAt.IsZero() {
					w.Ops[i].ExpiresAt = o.ExpiresAt.Truncate(time.Second)
				}
			}
		})(p, nil)
	})},
	{"expiries in whole seconds, and nobody is told", []string{"ttl/never_early_and_less_than_a_step_late"}, without(storage.CapExpiryOnRead, changed(func(_ *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if !o.ExpiresAt.IsZero() {
				w.Ops[i].ExpiresAt = o.ExpiresAt.Add(time.Second - 1).Truncate(time.Second)
			}
		}
	}))},
	{"unsupported before invalid", []string{"write_set/first_refusal"}, without(storage.CapIdempotent, refused(func(p *planted, w *storage.WriteSet) error {
		if w.ID != [16]byte{} {
			return storage.ErrUnsupported
		}
		return nil
	}))},
	{"invalid before too large", []string{"write_set/first_refusal"}, refused(func(_ *planted, w *storage.WriteSet) error {
		return w.Validate(&storage.Info{Caps: ^storage.Caps(0)})
	})},
	{"the state before what is invalid", []string{"write_set/first_refusal"}, refused(func(p *planted, w *storage.WriteSet) error {
		for i, c := range w.Checks {
			if _, err := p.Backend.Get(context.Background(), c.Key); c.Kind == storage.CheckAbsent && err == nil {
				return storage.ConflictAt(i)
			}
		}
		return nil
	})},
	{"the state before an id", []string{"idempotency/its_checks_are_not_judged_again"}, refused(func(p *planted, w *storage.WriteSet) error {
		for i, c := range w.Checks {
			if _, err := p.Backend.Get(context.Background(), c.Key); c.Kind == storage.CheckAbsent && err == nil && w.ID != [16]byte{} {
				return storage.ConflictAt(i)
			}
		}
		return nil
	})},
	{"a delete with an expiry", []string{"write_set/hostile"}, changed(func(_ *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if o.Kind != storage.OpPut {
				w.Ops[i].ExpiresAt = time.Time{}
			}
		}
	})},
	{"a range delete with a value", []string{"write_set/hostile"}, changed(func(_ *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if o.Kind == storage.OpDeleteRange {
				w.Ops[i].Value = nil
			}
		}
	})},
	{"an op with an end that is empty", []string{"write_set/hostile"}, changed(func(_ *planted, w *storage.WriteSet) {
		for i, o := range w.Ops {
			if o.Kind != storage.OpDeleteRange && len(o.End) == 0 {
				w.Ops[i].End = nil
			}
		}
	})},
	{"a check with fields that it does not use is refused", []string{"write_set/fields_that_a_check_does_not_use"}, refused(func(_ *planted, w *storage.WriteSet) error {
		for _, c := range w.Checks {
			if c.Kind == storage.CheckPresent && (c.Version != 0 || c.Value != nil || c.End != nil) {
				return storage.Errorf(storage.InvalidArgument, "a check with too much")
			}
		}
		return nil
	})},
	{"a check with fields that it does not use judges by them", []string{"write_set/fields_that_a_check_does_not_use"}, changed(func(_ *planted, w *storage.WriteSet) {
		for i, c := range w.Checks {
			if c.Kind == storage.CheckPresent && c.Version != 0 {
				w.Checks[i].Kind = storage.CheckVersion
			}
		}
	})},
	{"versions in a double", []string{"versions/each_change_gets_a_greater_one"}, func(p *planted, _ *storagetest.Clock) {
		shifted(p, func(v uint64) uint64 { return uint64(float64(v)) })
	}},
	{"lengths of keys in 8 bits", []string{"limits/key"}, func(p *planted, _ *storagetest.Clock) {
		short := func(k []byte) []byte { return k[:len(k)&0xff] }
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) { return p.Backend.Get(ctx, short(key)) }
		changed(func(_ *planted, w *storage.WriteSet) {
			for i := range w.Ops {
				w.Ops[i].Key = short(w.Ops[i].Key)
			}
		})(p, nil)
	}},
	{"lengths of values in 16 bits", []string{"limits/value"}, changed(func(_ *planted, w *storage.WriteSet) {
		for i := range w.Ops {
			w.Ops[i].Value = w.Ops[i].Value[:len(w.Ops[i].Value)&0xffff]
		}
	})},
	{"numbers of conflicts in 8 bits", []string{"cas/the_check_of_a_large_number_is_named"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(ctx, w)
			if e := storage.AsError(err); storage.CodeOf(err) == storage.Conflict && e.FailedCheck() > 250 {
				err = storage.ConflictAt(e.FailedCheck() & 0xff)
			}
			return v, err
		}
	}},
	{"changes without their expiries", []string{"changes/own_writes"}, answered(func(_ storage.ChangeQuery, p *storage.ChangePage) {
		for i := range p.Changes {
			p.Changes[i].ExpiresAt = time.Time{}
		}
	})},
	{"changes beyond max bytes", []string{"changes/max_bytes"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			q.MaxBytes = 0
			return p.Backend.Changes(ctx, q)
		}
	}},
	{"changes beyond their limit", []string{"changes/write_sets_are_whole"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			q.Limit = 0
			return p.Backend.Changes(ctx, q)
		}
	}},
	{"a wait that does not end with its context", []string{"changes/wait"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			return p.Backend.Changes(context.WithoutCancel(ctx), q)
		}
	}},
}
