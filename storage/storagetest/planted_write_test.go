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
