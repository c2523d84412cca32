package storagetest

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// writeChecks returns the checks of what Store and Txn offer beyond the narrow waist:
// options of a put, versions of writes, and all reads inside a transaction.
func writeChecks() []Check {
	return append(in("writes",
		is("all_conditions_of_a_put_must_hold", 0, func(t *T) {
			t.set("k", "v")
			_, err := t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent(), storage.IfValue(bs("other")))
			t.wantCode(err, storage.Conflict)
			_, err = t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfAbsent(), storage.IfValue(bs("v")))
			t.wantCode(err, storage.Conflict)
			_, err = t.s.Remove(t.ctx, bs("k"), storage.IfPresent(), storage.IfValue(bs("other")))
			t.wantCode(err, storage.Conflict)
			t.wantValue("k", "v")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("w"), storage.IfPresent(), storage.IfValue(bs("v")))))
			t.wantValue("k", "w")
			t.must(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfPresent(), storage.IfValue(bs("w")))))
			t.wantAbsent("k")
		}),
		is("give_the_version_they_landed_at", storage.CapVersions, writeVersions),
		is("touch_gives_the_version", storage.CapVersions|storage.CapTTL, func(t *T) {
			t.set("k", "v")
			v, err := t.s.Touch(t.ctx, bs("k"), time.Hour)
			t.must(err)
			if it := t.item("k"); it.Version != v {
				t.Errorf("touch landed at version %d, the item is at %d", v, it.Version)
			}
		}),
		is("put_until", storage.CapTTL, func(t *T) {
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v"), storage.Until(t.s.Now().Add(5*time.Second)))))
			t.must(errOf(t.s.Put(t.ctx, bs("ever"), bs("v"), storage.WithTTL(time.Second), storage.Until(time.Time{}))))
			t.clock.Advance(4 * time.Second)
			t.wantValue("k", "v")
			t.clock.Advance(time.Second)
			t.wantAbsent("k")
			t.wantValue("ever", "v")
			t.must(errOf(t.s.Put(t.ctx, bs("ever"), bs("v"), storage.Until(t.s.Now()))))
			t.wantAbsent("ever")
		}),
		is("update_json_keeps_the_expiry", storage.CapTTL|storage.CapExpiryOnRead, func(t *T) {
			t.must(errOf(storage.PutJSON(t.ctx, t.s, bs("n"), 1, storage.WithTTL(5*time.Second))))
			t.must(storage.UpdateJSON(t.ctx, t.s, bs("n"), func(n *int) error { *n++; return nil }))
			t.wantValue("n", "2")
			t.clock.Advance(5 * time.Second)
			t.wantAbsent("n")
		}),
	), in("writes",
		is("txn_reads_items", storage.CapAtomic, txnReads),
		is("txn_touch", storage.CapAtomic|storage.CapTTL, txnTouch),
		is("txn_touch_loses_to_another_writer", storage.CapTTL, func(t *T) {
			for _, tx := range []txn{t.begin(), t.serializable()} {
				t.set("k", "v")
				t.must(errOf(tx.tx.Touch(t.ctx, bs("k"), time.Hour)))
				t.set("k", "theirs")
				t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
				t.wantValue("k", "theirs")
			}
		}),
		is("txn_get_many_becomes_checks", storage.CapCheckOnly, func(t *T) {
			for _, changed := range []string{"a", "absent"} {
				t.set("a", "1")
				t.del("absent")
				tx := t.serializable()
				_, err := tx.tx.GetMany(t.ctx, [][]byte{bs("a"), bs("absent")})
				t.must(err)
				tx.set("b", "2")
				t.set(changed, "theirs")
				t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			}
		}),
	)...)
}

// writeVersions compares what writes return with what a read says.
func writeVersions(t *T) {
	v, err := t.s.Put(t.ctx, bs("k"), bs("1"), storage.IfAbsent())
	t.must(err)
	for range 3 {
		if it := t.item("k"); it.Version != v {
			t.Fatalf("a put landed at version %d, its item is at %d", v, it.Version)
		}
		next, err := t.s.Put(t.ctx, bs("k"), bs("2"), storage.IfVersion(v))
		t.must(err)
		if next <= v {
			t.Fatalf("a put landed at version %d, after %d", next, v)
		}
		v = next
	}
	removed, err := t.s.Remove(t.ctx, bs("k"), storage.IfVersion(v))
	t.must(err)
	if now := t.scan(storage.Query{}).Version; removed != now || removed <= v {
		t.Errorf("a remove landed at version %d, after %d; the store is at %d", removed, v, now)
	}
	committed, err := t.s.UpdateIn(t.ctx, storage.ReadCommitted, func(tx *storage.Txn) error {
		if v, err := tx.Put(t.ctx, bs("k"), bs("3")); err != nil || v != 0 {
			t.Errorf("a put in a transaction has version %d, %v", v, err)
		}
		return nil
	})
	t.must(err)
	if it := t.item("k"); it.Version != committed {
		t.Errorf("a transaction landed at version %d, its item is at %d", committed, it.Version)
	}
	cleared, err := t.s.ClearRange(t.ctx, nil, nil)
	t.must(err)
	if now := t.scan(storage.Query{}).Version; cleared != now {
		t.Errorf("a clear landed at version %d, the store is at %d", cleared, now)
	}
}

func txnReads(t *T) {
	t.set("theirs", "1")
	t.set("hidden", "1")
	stored := t.item("theirs")
	tx := t.begin()
	tx.set("mine", "2")
	tx.del("hidden")
	if it, err := tx.tx.GetItem(t.ctx, bs("theirs")); err != nil || string(it.Key) != "theirs" || string(it.Value) != "1" || it.Version != stored.Version {
		t.Errorf("what is stored: %+v, %v, want version %d", it, err, stored.Version)
	}
	if it, err := tx.tx.GetItem(t.ctx, bs("mine")); err != nil || string(it.Key) != "mine" || string(it.Value) != "2" || it.Version != 0 {
		t.Errorf("its own write: %+v, %v", it, err)
	}
	for _, absent := range []string{"hidden", "absent"} {
		_, err := tx.tx.GetItem(t.ctx, bs(absent))
		t.wantCode(err, storage.NotFound)
	}
	keys := [][]byte{bs("mine"), bs("absent"), bs("theirs"), bs("hidden"), bs("mine"), bs("theirs")}
	items, err := tx.tx.GetMany(t.ctx, keys)
	t.must(err)
	got := ""
	for _, it := range items {
		got += string(it.Key) + "=" + string(it.Value) + " "
	}
	if want := "mine=2 theirs=1 mine=2 theirs=1 "; got != want {
		t.Errorf("several are %q, want %q", got, want)
	}
	items[0].Value[0] = 'x' // it is the caller's
	tx.wantValue("mine", "2")
	if items, err := tx.tx.GetMany(t.ctx, nil); err != nil || len(items) != 0 {
		t.Errorf("none are %v, %v", items, err)
	}
	tx.commit()
	t.wantKeys(nil, nil, "mine", "theirs")
}

func txnTouch(t *T) {
	t.set("stored", "s")
	tx := t.begin()
	tx.set("own", "o")
	t.must(errOf(tx.tx.Touch(t.ctx, bs("stored"), 5*time.Second)))
	t.must(errOf(tx.tx.TouchUntil(t.ctx, bs("own"), t.s.Now().Add(time.Hour))))
	t.wantCode(errOf(tx.tx.Touch(t.ctx, bs("absent"), time.Hour)), storage.NotFound)
	t.wantCode(errOf(tx.tx.Touch(t.ctx, bs("stored"), -1)), storage.InvalidArgument)
	tx.wantValue("stored", "s")
	if it, err := tx.tx.GetItem(t.ctx, bs("own")); err != nil || !it.ExpiresAt.Equal(storage.ClampExpiry(t.s.Now().Add(time.Hour))) {
		t.Errorf("its own write expires at %s, %v", it.ExpiresAt, err)
	}
	t.clock.Advance(time.Minute) // a TTL counts from the commit
	tx.commit()
	t.wantValue("stored", "s")
	t.clock.Advance(5 * time.Second)
	t.wantAbsent("stored")
	t.wantValue("own", "o")
	t.clock.Advance(time.Hour)
	t.wantAbsent("own")
}
