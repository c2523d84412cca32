package storagetest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// rapid writes files about what fails, and here much is meant to.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("rapid.nofailfile", "true")
	os.Exit(m.Run())
}

// planted is a backend that does what the model does, but for what is put in its
// place.
type planted struct {
	storage.Backend
	get     func(context.Context, []byte) (storage.Item, error)
	getMany func(context.Context, [][]byte) ([]storage.Item, error)
	scan    func(context.Context, storage.Query) (storage.Page, error)
	apply   func(context.Context, *storage.WriteSet) (uint64, error)
	info    func() storage.Info
	close   func(context.Context) error
}

func (p *planted) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if p.get != nil {
		return p.get(ctx, key)
	}
	return p.Backend.Get(ctx, key)
}

func (p *planted) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if p.getMany != nil {
		return p.getMany(ctx, keys)
	}
	return p.Backend.GetMany(ctx, keys)
}

func (p *planted) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if p.scan != nil {
		return p.scan(ctx, q)
	}
	return p.Backend.Scan(ctx, q)
}

func (p *planted) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if p.apply != nil {
		return p.apply(ctx, w)
	}
	return p.Backend.Apply(ctx, w)
}

func (p *planted) Info() storage.Info {
	if p.info != nil {
		return p.info()
	}
	return p.Backend.Info()
}

func (p *planted) Close(ctx context.Context) error {
	if p.close != nil {
		return p.close(ctx)
	}
	return p.Backend.Close(ctx)
}

// fault is one way to break the contract, and the checks that have to see it.
type fault struct {
	name   string
	caught []string
	// plant breaks p, which is over a model with a clock.
	plant func(p *planted, clock *storagetest.Clock)
}

// Each fault must be caught by each of the checks named: the kit is worth what
// it finds.
func TestPlantedFaults(t *testing.T) {
	for _, f := range slices.Concat(readFaults, writeFaults, scanFaults, otherFaults) {
		t.Run(f.name, func(t *testing.T) {
			for _, name := range f.caught {
				clock := storagetest.NewClock()
				factory := storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
					info := storagetest.ModelInfo()
					rand.Read(info.Incarnation[:])
					p := &planted{Backend: storagetest.NewModel(clock.Now, info)}
					f.plant(p, clock)
					return p, nil
				}}
				r := storagetest.RunOne(t.Context(), factory, name)
				if r.Outcome != storagetest.Failed {
					t.Errorf("%s does not see it: %s %s", name, r.Outcome, r.Text)
				} else {
					t.Logf("%s: %s", name, r.Text)
				}
			}
		})
	}
}

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

var writeFaults = []fault{
	{"lost write", []string{"crud/many_keys", "linearizability/single_keys", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		var mu sync.Mutex
		n := 0
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			mu.Lock()
			n++
			lose := n%7 == 0
			mu.Unlock()
			if lose {
				w = &storage.WriteSet{Checks: w.Checks}
			}
			return p.Backend.Apply(ctx, w)
		}
	}},
	{"ignored check", []string{"cas/insert_if_absent_fails_when_key_exists", "concurrency/compare_and_set_has_one_winner", "model/long_script", "serializable/no_lost_update"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			return p.Backend.Apply(ctx, &storage.WriteSet{ID: w.ID, Ops: w.Ops})
		}
	}},
	{"ignored range check", []string{"cas/range_check", "serializable/phantoms", "serializable/range_of_nothing", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Checks = slices.DeleteFunc(slices.Clone(w.Checks), func(c storage.Check) bool { return c.Kind == storage.CheckRange })
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"ignored check of a key that is not written", []string{"serializable/no_write_skew", "write_set/check_only_set"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Checks = slices.DeleteFunc(slices.Clone(w.Checks), func(c storage.Check) bool {
				return !slices.ContainsFunc(w.Ops, func(o storage.Op) bool { return bytes.Equal(o.Key, c.Key) })
			})
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"non-atomic apply", []string{"atomicity/readers_see_all_or_nothing", "versions/one_write_set_has_one", "linearizability/whole_store", "limits/nothing_of_a_refused_write_set_stays"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (v uint64, err error) {
			if v, err = p.Backend.Apply(ctx, &storage.WriteSet{Checks: w.Checks}); err != nil {
				return v, err
			}
			for _, o := range w.Ops {
				if v, err = p.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{o}}); err != nil {
					return v, err
				}
				runtime.Gosched()
			}
			return v, nil
		}
	}},
	{"checks before ops, and time in between", []string{"concurrency/no_increment_is_lost", "concurrency/insert_has_one_winner", "linearizability/single_keys"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if _, err := p.Backend.Apply(ctx, &storage.WriteSet{Checks: w.Checks}); err != nil {
				return 0, err
			}
			time.Sleep(20 * time.Microsecond)
			return p.Backend.Apply(ctx, &storage.WriteSet{ID: w.ID, Ops: w.Ops})
		}
	}},
	{"clear in two steps", []string{"atomicity/clear_range_is_one_moment"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if len(w.Ops) != 1 || w.Ops[0].Kind != storage.OpDeleteRange {
				return p.Backend.Apply(ctx, w)
			}
			page, err := p.Backend.Scan(ctx, storage.Query{Start: w.Ops[0].Key, End: w.Ops[0].End, KeysOnly: true})
			for i := len(page.Items) - 1; i >= 0 && err == nil; i-- {
				_, err = p.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete(page.Items[i].Key)}})
				runtime.Gosched()
			}
			return page.Version, err
		}
	}},
	{"ops in the order of their keys", []string{"write_set/later_op_on_a_key_wins", "write_set/ops_run_in_order", "transaction/same_key_in_every_order", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Ops = slices.Clone(w.Ops)
			slices.SortFunc(own.Ops, func(a, b storage.Op) int { return bytes.Compare(a.Key, b.Key)*2 + int(a.Kind) - int(b.Kind) })
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"leaked expiry: a set keeps the old one", []string{"ttl/set_clears_it", "ttl/compare_and_set_clears_it", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Ops = slices.Clone(w.Ops)
			for i, o := range own.Ops {
				if it, err := p.Backend.Get(ctx, o.Key); err == nil && o.Kind == storage.OpPut && o.ExpiresAt.IsZero() {
					own.Ops[i].ExpiresAt = it.ExpiresAt
				}
			}
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"an expiry in the past is none", []string{"ttl/zero_is_expired_at_once", "ttl/expiry_in_the_past_removes", "transaction/ttl_zero_removes"}, func(p *planted, clock *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Ops = slices.Clone(w.Ops)
			for i, o := range own.Ops {
				if !o.ExpiresAt.After(clock.Now()) {
					own.Ops[i].ExpiresAt = time.Time{}
				}
			}
			return p.Backend.Apply(ctx, &own)
		}
	}},
	{"aliased arguments", []string{"ownership/arguments_are_not_kept"}, func(p *planted, _ *storagetest.Clock) {
		kept := map[string][]byte{}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for _, o := range w.Ops {
				kept[string(o.Key)] = o.Value
			}
			return p.Backend.Apply(ctx, w)
		}
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			it, err := p.Backend.Get(ctx, key)
			it.Value = bytes.Clone(kept[string(key)])
			return it, err
		}
	}},
	{"arguments written to", []string{"ownership/arguments_are_not_changed"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for _, o := range w.Ops {
				_ = append(o.Key, '!')
			}
			return p.Backend.Apply(ctx, w)
		}
	}},
	{"idempotency ignored", []string{"idempotency/a_repeat_is_harmless", "idempotency/repeats_at_once", "idempotency/another_content_is_refused", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			return p.Backend.Apply(ctx, &storage.WriteSet{Checks: w.Checks, Ops: w.Ops})
		}
	}},
	{"a refusal remembered", []string{"idempotency/a_refusal_is_not_remembered"}, func(p *planted, _ *storagetest.Clock) {
		refused := map[[16]byte]error{}
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if err := refused[w.ID]; err != nil {
				return 0, err
			}
			v, err := p.Backend.Apply(ctx, w)
			if w.ID != [16]byte{} {
				refused[w.ID] = err
			}
			return v, err
		}
	}},
	{"the last failing check named", []string{"cas/the_first_failing_check_is_named", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			own := *w
			own.Checks = slices.Clone(w.Checks)
			slices.Reverse(own.Checks)
			v, err := p.Backend.Apply(ctx, &own)
			if e := storage.AsError(err); storage.CodeOf(err) == storage.Conflict {
				return 0, storage.ConflictAt(len(w.Checks) - 1 - e.FailedCheck())
			}
			return v, err
		}
	}},
	{"cancelled, and applied", []string{"errors/cancelled_before", "errors/too_late_before", "errors/cancelled_amid_calls"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(context.WithoutCancel(ctx), w)
			if err == nil {
				err = storage.ContextError(ctx)
			}
			return v, err
		}
	}},
	{"a value in an error", []string{"errors/hold_no_values_and_no_whole_keys"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			v, err := p.Backend.Apply(ctx, w)
			if storage.CodeOf(err) == storage.Conflict {
				err = storage.Errorf(storage.Conflict, "%q was expected", w.Checks[0].Key)
			}
			return v, err
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

// shifted is a backend whose versions others see through f.
func shifted(p *planted, f func(uint64) uint64) {
	p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
		it, err := p.Backend.Get(ctx, key)
		it.Version = f(it.Version)
		return it, err
	}
	p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
		v, err := p.Backend.Apply(ctx, w)
		return f(v), err
	}
	p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
		page, err := p.Backend.Scan(ctx, q)
		for i := range page.Items {
			page.Items[i].Version = f(page.Items[i].Version)
		}
		page.Version = f(page.Version)
		return page, err
	}
}

var otherFaults = []fault{
	{"repeated version", []string{"versions/each_change_gets_a_greater_one", "versions/never_repeat_over_delete_and_recreate", "versions/unique_among_concurrent_writers", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		shifted(p, func(v uint64) uint64 { return v &^ 1 })
	}},
	{"versions from 1 in each life", []string{"versions/never_repeat_over_restarts"}, func(p *planted, clock *storagetest.Clock) {
		base := storage.FirstVersion(clock.Now())
		shifted(p, func(v uint64) uint64 { return v - base })
	}},
	{"a page of an older version", []string{"versions/pages_say_theirs"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			page.Version--
			return page, err
		}
	}},
	{"lost state under the same incarnation", []string{"restart/state_is_kept_or_known_to_be_lost"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Incarnation = [16]byte{1}
			return info
		}
	}},
	{"said to be durable", []string{"restart/state_is_kept_or_known_to_be_lost", "restart/many_keys_stay", "idempotency/remembered_over_a_restart"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Caps |= storage.CapDurable
			return info
		}
	}},
	{"a lower limit than Info says", []string{"limits/key", "limits/value", "limits/ops", "limits/write_bytes", "limits/get_keys"}, func(p *planted, _ *storagetest.Clock) {
		info := p.Backend.Info()
		info.Limits = storage.Limits{Key: info.Limits.Key + 1, Value: info.Limits.Value + 1, Ops: info.Limits.Ops + 1, WriteBytes: info.Limits.WriteBytes + 1, GetKeys: info.Limits.GetKeys + 1}
		p.info = func() storage.Info { return info }
	}},
	{"a higher limit than Info says", []string{"limits/key", "limits/value", "limits/ops", "limits/write_bytes", "limits/get_keys"}, func(p *planted, _ *storagetest.Clock) {
		info := p.Backend.Info()
		info.Limits = storage.Limits{Key: info.Limits.Key - 1, Value: info.Limits.Value - 1, Ops: info.Limits.Ops - 1, WriteBytes: info.Limits.WriteBytes - 1, GetKeys: info.Limits.GetKeys - 1}
		p.info = func() storage.Info { return info }
	}},
	{"an ability that Info lacks", []string{"capabilities/what_is_lacking_is_refused"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Caps &^= storage.CapReverse
			return info
		}
	}},
	{"calls after Close", []string{"errors/closed"}, func(p *planted, _ *storagetest.Clock) {
		p.close = func(context.Context) error { return nil }
	}},
	{"a second Close that fails", []string{"errors/closed"}, func(p *planted, _ *storagetest.Clock) {
		closed := false
		p.close = func(ctx context.Context) error {
			if closed {
				return storage.ErrShuttingDown
			}
			closed = true
			return p.Backend.Close(ctx)
		}
	}},
	{"a goroutine left behind", []string{"leaks/goroutines"}, func(p *planted, _ *storagetest.Clock) {
		wait := make(chan struct{})
		go func() { <-wait }()
	}},
	{"memory left behind", []string{"leaks/memory"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for _, o := range w.Ops {
				leaked = append(leaked, make([]byte, 16*len(o.Value)))
			}
			return p.Backend.Apply(ctx, w)
		}
	}},
	{"a clock that goes back", []string{"ttl/clock_that_goes_back_revives_nothing"}, func(p *planted, clock *storagetest.Clock) {
		kept := storagetest.NewModel(clock.Now, p.Backend.Info())
		p.apply = kept.Apply
		p.getMany, p.scan = kept.GetMany, kept.Scan
		items := map[string]storage.Item{} // answered by its own look at the clock
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			if it, ok := items[string(key)]; ok && it.ExpiresAt.After(clock.Now()) {
				return it, nil
			}
			it, err := kept.Get(ctx, key)
			if err == nil {
				items[string(key)] = it
			}
			return it, err
		}
	}},
	{"a panic", []string{"crud/get_missing_key"}, func(p *planted, _ *storagetest.Clock) {
		p.get = func(context.Context, []byte) (storage.Item, error) { panic("planted") }
	}},
}

var leaked [][]byte
