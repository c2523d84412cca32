package storagetest_test

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

var readFaults = []fault{
	{"stale read", []string{"crud/set_overwrites", "linearizability/single_keys", "model/long_script", "model/short_scripts"}, func(p *planted, _ *storagetest.Clock) {
		var mu sync.Mutex
		before := map[string]storage.Item{}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for _, o := range w.Ops {
				if it, err := p.Backend.Get(ctx, o.Key); err == nil {
					mu.Lock()
					before[string(o.Key)] = it
					mu.Unlock()
				}
			}
			return p.Backend.Apply(ctx, w)
		}
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) { // once after each write
			mu.Lock()
			defer mu.Unlock()
			if it, ok := before[string(key)]; ok {
				delete(before, string(key))
				return it, nil
			}
			return p.Backend.Get(ctx, key)
		}
	}},
	{"absent without an error", []string{"crud/get_missing_key", "crud/delete_removes"}, func(p *planted, _ *storagetest.Clock) {
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			it, err := p.Backend.Get(ctx, key)
			if storage.CodeOf(err) == storage.NotFound {
				err = nil
			}
			return it, err
		}
	}},
	{"nil for an empty value", []string{"crud/empty_key_and_value", "cas/absent_and_empty_differ"}, func(p *planted, _ *storagetest.Clock) {
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			it, err := p.Backend.Get(ctx, key)
			if len(it.Value) == 0 {
				it.Value = nil
			}
			return it, err
		}
	}},
	{"repeats left out of GetMany", []string{"crud/get_many", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.getMany = func(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
			items, err := p.Backend.GetMany(ctx, keys)
			return slices.CompactFunc(items, func(a, b storage.Item) bool { return bytes.Equal(a.Key, b.Key) }), err
		}
		first := p.getMany
		p.getMany = func(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
			sorted := slices.Clone(keys)
			slices.SortFunc(sorted, bytes.Compare)
			return first(ctx, sorted)
		}
	}},
	{"leaked expiry: equality counts as live", []string{"ttl/equality_is_expired", "ttl/expired_keys_are_not_in_ranges"}, func(p *planted, clock *storagetest.Clock) {
		late := func() time.Time { return clock.Now().Add(-time.Millisecond) }
		p.Backend = storagetest.NewModel(late, p.Backend.Info())
	}},
	{"leaked expiry: a scan shows what has expired", []string{"ttl/expired_keys_are_not_in_ranges", "model/long_script"}, func(p *planted, clock *storagetest.Clock) {
		start := clock.Now()
		forever := storagetest.NewModel(func() time.Time { return start }, p.Backend.Info())
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(ctx, w)
			if err == nil {
				forever.Apply(ctx, &storage.WriteSet{Ops: w.Ops})
			}
			return v, err
		}
		p.scan = forever.Scan
	}},
	{"expiry judged later than what was read", []string{"concurrency/renewed_in_time_is_never_absent"}, func(p *planted, clock *storagetest.Clock) {
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			it, err := p.Backend.Get(ctx, key)
			for n := 0; err == nil && n < 1000 && !storage.Expired(it.ExpiresAt, clock.Now()); n++ {
				runtime.Gosched()
			}
			if err == nil && storage.Expired(it.ExpiresAt, clock.Now()) {
				return storage.Item{}, storage.ErrNotFound
			}
			return it, err
		}
	}},
	{"aliased results", []string{"ownership/results_are_the_callers"}, func(p *planted, _ *storagetest.Clock) {
		given := map[uint64]storage.Item{}
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			it, err := p.Backend.Get(ctx, key)
			if kept, ok := given[it.Version]; ok && err == nil {
				return kept, nil
			}
			given[it.Version] = it
			return it, err
		}
	}},
	{"results that share their ends", []string{"ownership/results_are_the_callers"}, func(p *planted, _ *storagetest.Clock) {
		p.getMany = func(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
			items, err := p.Backend.GetMany(ctx, keys)
			var all []byte
			for _, it := range items {
				all = append(append(all, it.Key...), it.Value...)
			}
			for i := range items {
				k, v := len(items[i].Key), len(items[i].Value)
				items[i].Key, items[i].Value, all = all[:k], all[k:k+v], all[k+v:]
			}
			return items, err
		}
	}},
}

var scanFaults = []fault{
	{"wrong order", []string{"range/results_are_ordered", "range/byte_order", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			if n := len(page.Items); n > 1 {
				page.Items[n-1], page.Items[n-2] = page.Items[n-2], page.Items[n-1]
			}
			return page, err
		}
	}},
	{"range end included", []string{"range/end_is_excluded", "range/bounds", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			if q.End != nil {
				q.End = storage.After(q.End)
			}
			return p.Backend.Scan(ctx, q)
		}
	}},
	{"end of a range delete included", []string{"clear_range/removes_what_is_in_it", "clear_range/empty_and_inverted", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Ops = slices.Clone(w.Ops)
			for i, o := range own.Ops {
				if o.Kind == storage.OpDeleteRange && o.End != nil {
					own.Ops[i].End = storage.After(o.End)
				}
			}
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"an empty end is none", []string{"range/empty_range", "clear_range/empty_and_inverted"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			if len(q.End) == 0 {
				q.End = nil
			}
			return p.Backend.Scan(ctx, q)
		}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Ops = slices.Clone(w.Ops)
			for i := range own.Ops {
				if len(own.Ops[i].End) == 0 {
					own.Ops[i].End = nil
				}
			}
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"page not a view", []string{"atomicity/pages_are_each_one_view", "linearizability/whole_store"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			for i, it := range page.Items {
				runtime.Gosched()
				if now, err := p.Backend.Get(ctx, it.Key); err == nil && !q.KeysOnly {
					now.Key = it.Key
					page.Items[i] = now
				}
			}
			return page, err
		}
	}},
	{"Next skips a key", []string{"scan/pages_partition_the_range", "scan/range_over_pages", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			if page.Next != nil && !q.Reverse {
				page.Next = storage.After(page.Next)
			}
			return page, err
		}
	}},
	{"limit exceeded", []string{"scan/limit_is_kept"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			q.Limit += q.Limit & 1
			return p.Backend.Scan(ctx, q)
		}
	}},
	{"AtVersion ignored", []string{"scan/at_version", "scan/range_of_a_snapshot", "scan/at_an_unknown_version"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			q.AtVersion = 0
			return p.Backend.Scan(ctx, q)
		}
	}},
	{"values among keys only", []string{"scan/keys_only", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			q.KeysOnly = false
			return p.Backend.Scan(ctx, q)
		}
	}},
}
