package storagetest

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func transactionChecks() []Check {
	checks := in("transaction",
		is("reads_its_own_writes", storage.CapAtomic, func(t *T) {
			tx := t.begin()
			tx.set("k", "v")
			tx.wantValue("k", "v")
			tx.set("k", "w")
			tx.wantValue("k", "w")
			tx.del("k")
			tx.wantAbsent("k")
			tx.set("k", "x")
			tx.wantValue("k", "x")
			t.wantAbsent("k")
			tx.commit()
			t.wantValue("k", "x")
		}),
		is("reads_committed_data", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.wantValue("k", "v")
			tx.wantAbsent("missing")
			t.set("k", "changed") // reads are live, not of a snapshot
			tx.wantValue("k", "changed")
			tx.tx.Rollback()
		}),
		is("commit_applies_all", storage.CapAtomic, func(t *T) {
			t.set("gone", "v")
			tx := t.begin()
			tx.set("a", "1")
			tx.set("b", "2")
			tx.del("gone")
			tx.commit()
			t.wantKeys(nil, nil, "a", "b")
		}),
		is("dropped_without_commit_is_nothing", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.set("k", "x")
			tx.set("new", "x")
			t.wantValue("k", "v")
			t.wantAbsent("new")
		}),
		is("deleted_key_reads_as_absent", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.del("k")
			tx.wantAbsent("k")
			t.wantValue("k", "v")
			tx.commit()
			t.wantAbsent("k")
		}),
		is("conditional_write_rejects_commit", 0, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(tx.cas("k", storage.IfValue(bs("v0")), "v1"))
			t.set("k", "outside")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			t.wantValue("k", "outside")
		}),
		is("rollback_drops_everything", 0, func(t *T) {
			tx := t.begin()
			tx.set("k", "v")
			tx.tx.Rollback()
			tx.tx.Rollback()
			t.wantAbsent("k")
		}),
		is("over_means_over", 0, transactionIsOver),
		is("empty_commit", 0, func(t *T) { t.begin().commit() }),
		long("same_key_in_every_order", storage.CapAtomic, sameKeySequences),
		is("own_conditional_writes_are_seen", storage.CapAtomic, func(t *T) {
			tx := t.begin()
			t.must(tx.cas("k", storage.IfAbsent(), "a"))
			tx.wantValue("k", "a")
			t.must(tx.cas("k", storage.IfValue(bs("a")), "b")) // judged by the pending value
			t.wantCode(tx.cas("k", storage.IfValue(bs("a")), "x"), storage.Conflict)
			tx.wantValue("k", "b")
			t.must(errOf(tx.tx.Remove(t.ctx, bs("k"), storage.IfValue(bs("b")))))
			t.wantCode(tx.cas("k", storage.IfPresent(), "x"), storage.Conflict)
			t.must(tx.cas("k", storage.IfAbsent(), "c"))
			tx.commit()
			t.wantValue("k", "c")
		}),
		is("set_then_conditional_write", storage.CapAtomic, func(t *T) {
			t.set("k", "stored")
			tx := t.begin()
			tx.set("k", "mine")
			t.wantCode(tx.cas("k", storage.IfValue(bs("stored")), "x"), storage.Conflict)
			t.must(tx.cas("k", storage.IfValue(bs("mine")), "yours"))
			tx.commit()
			t.wantValue("k", "yours")
		}),
		is("conditional_write_then_set_keeps_the_condition", storage.CapAtomic, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(tx.cas("k", storage.IfValue(bs("v0")), "v1"))
			tx.set("k", "v2")
			t.set("k", "outside")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			t.wantValue("k", "outside")
		}),
		is("all_conditions_must_hold", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b")
			tx := t.begin()
			t.must(tx.cas("a", storage.IfValue(bs("a")), "1"))
			t.must(tx.cas("b", storage.IfValue(bs("b")), "2"))
			tx.commit()
			t.wantValue("a", "1")
			t.wantValue("b", "2")
			tx = t.begin()
			tx.set("new", "v")
			t.must(tx.cas("a", storage.IfValue(bs("1")), "x"))
			t.must(tx.cas("b", storage.IfValue(bs("wrong")), "x"))
			tx.del("a")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			t.wantKeys(nil, nil, "a", "b")
			t.wantValue("a", "1")
			t.wantValue("b", "2")
		}),
		is("last_commit_wins", 0, func(t *T) {
			a, b := t.begin(), t.begin()
			a.set("k", "a")
			b.set("k", "b")
			b.commit()
			a.commit()
			t.wantValue("k", "a")
		}),
		is("two_inserts_one_winner", 0, func(t *T) {
			a, b := t.begin(), t.begin()
			t.must(a.cas("k", storage.IfAbsent(), "a"))
			t.must(b.cas("k", storage.IfAbsent(), "b"))
			a.commit()
			t.wantCode(errOf(b.tx.Commit(t.ctx)), storage.Conflict)
			t.wantValue("k", "a")
		}),
		is("large", storage.CapAtomic, largeTransaction),
		is("range", 0, transactionRange),
		is("clear_range", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b", "c", "d")
			tx := t.begin()
			tx.set("bb", "mine")
			t.must(errOf(tx.tx.ClearRange(t.ctx, bs("b"), bs("d"))))
			tx.set("c", "again")
			tx.wantKeys("a", "c", "d")
			t.set("b5", "from outside") // goes too: a clear is of what is there at the commit
			tx.wantKeys("a", "c", "d")
			tx.commit()
			t.wantKeys(nil, nil, "a", "c", "d")
			t.wantValue("c", "again")
		}),
		long("too_large_is_refused_at_once", 0, tooLargeInTransaction),
		is("commit_after_cancel_applies_nothing", 0, func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			tx := t.begin()
			tx.set("k", "v")
			cancel()
			t.wantCode(errOf(tx.tx.Commit(ctx)), storage.Canceled)
			t.wantAbsent("k")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.TxnDone)
		}),
		is("update_repeats_on_conflict", 0, updateRepeats),
	)
	return append(checks, in("transaction",
		is("ttl_counts_from_the_commit", storage.CapTTL, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", 10*time.Second)
			tx.wantValue("k", "v")
			t.clock.Advance(time.Minute)
			tx.wantValue("k", "v")
			tx.commit()
			t.wantValue("k", "v")
			t.clock.Advance(9 * time.Second)
			t.wantValue("k", "v")
			t.clock.Advance(time.Second)
			t.wantAbsent("k")
		}),
		is("ttl_reads_its_own_writes", storage.CapTTL, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", time.Second)
			tx.wantValue("k", "v")
			tx.tx.Rollback()
			t.wantAbsent("k")
		}),
		is("ttl_compare_and_set", storage.CapTTL, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(errOf(tx.tx.Put(t.ctx, bs("k"), bs("v1"), storage.IfValue(bs("v0")), storage.WithTTL(5*time.Second))))
			tx.commit()
			t.wantValue("k", "v1")
			t.clock.Advance(5 * time.Second)
			t.wantAbsent("k")
		}),
		is("ttl_zero_removes", storage.CapTTL, func(t *T) {
			t.setAll("k", "other")
			tx := t.begin()
			tx.setTTL("k", "v", 0)
			tx.wantAbsent("k")
			tx.wantKeys("other")
			tx.commit()
			t.wantAbsent("k")
		}),
		is("ttl_replaced_by_a_plain_set", storage.CapTTL|storage.CapAtomic, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", time.Second)
			tx.set("k", "for ever")
			tx.commit()
			t.clock.Advance(time.Hour)
			t.wantValue("k", "for ever")
		}),
		is("ttl_negative_is_refused", storage.CapTTL, func(t *T) {
			tx := t.begin()
			t.wantCode(errOf(tx.tx.Put(t.ctx, bs("k"), bs("v"), storage.WithTTL(-1))), storage.InvalidArgument)
			tx.wantAbsent("k")
			tx.set("other", "v")
			tx.commit()
			t.wantKeys(nil, nil, "other")
		}),
		is("ttl_insert_over_an_expired_key", storage.CapTTL, func(t *T) {
			t.setTTL("k", "stale", 5*time.Second)
			tx := t.begin()
			t.must(tx.cas("k", storage.IfAbsent(), "v"))
			t.clock.Advance(5 * time.Second)
			tx.commit()
			t.clock.Advance(time.Hour)
			t.wantValue("k", "v")
		}),
	)...)
}
