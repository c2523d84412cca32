package storagetest

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func concurrencyChecks() []Check {
	return in("concurrency",
		is("sets_of_different_keys", 0, func(t *T) {
			t.parallel(50, func(i int) { t.set(fmt.Sprint("k", i), fmt.Sprint(i)) })
			for i := range 50 {
				t.wantValue(fmt.Sprint("k", i), fmt.Sprint(i))
			}
		}),
		is("reads_are_consistent", 0, func(t *T) {
			t.set("k", "v")
			t.parallel(50, func(int) {
				for range 20 {
					t.wantValue("k", "v")
				}
			})
		}),
		is("compare_and_set_has_one_winner", 0, func(t *T) {
			for round := range 30 {
				from, to := fmt.Sprint("v", round), fmt.Sprint("v", round+1)
				if round == 0 {
					t.set("k", from)
				}
				t.oneWinner(10, func(int) error {
					return errOf(t.s.Put(t.ctx, bs("k"), bs(to), storage.IfValue(bs(from))))
				})
				t.wantValue("k", to)
			}
		}),
		is("insert_has_one_winner", 0, func(t *T) {
			for round := range 30 {
				k := fmt.Sprint("k", round)
				t.oneWinner(16, func(i int) error {
					return errOf(t.s.Put(t.ctx, bs(k), []byte{byte(i)}, storage.IfAbsent()))
				})
			}
		}),
		is("transactions_have_one_winner", storage.CapAtomic, func(t *T) {
			t.set("k", "0")
			for round := range 20 {
				t.oneWinner(8, func(i int) error {
					tx := t.s.Begin(storage.ReadCommitted)
					if _, err := tx.Put(t.ctx, bs("k"), fmt.Append(nil, round+1), storage.IfValue(fmt.Append(nil, round))); err != nil {
						return err
					}
					if err := tx.Set(t.ctx, fmt.Appendf(nil, "by %d %d", round, i), nil); err != nil {
						return err
					}
					return errOf(tx.Commit(t.ctx))
				})
			}
			if n := len(t.all(storage.Query{Start: bs("by"), End: bs("bz")})); n != 20 {
				t.Errorf("the losers left %d writes behind", n-20)
			}
		}),
		is("no_increment_is_lost", 0, noIncrementIsLost),
		is("transfers_keep_the_sum", storage.CapAtomic|storage.CapCheckOnly, transfersKeepTheSum),
		is("mixed_work", 0, mixedWork),
		is("expiry_beside_reads", storage.CapTTL, expiryBesideReads),
		is("renewed_in_time_is_never_absent", storage.CapTTL, renewedInTime),
		is("delete_beside_reads", 0, func(t *T) {
			stop := t.background(4, func(i int) {
				k := fmt.Sprint("k", time.Now().Nanosecond()%20)
				if i%2 == 0 {
					t.set(k, k)
				} else {
					t.del(k)
				}
			})
			t.parallel(4, func(i int) {
				for n := range 200 {
					k := fmt.Sprint("k", (n+i)%20)
					it, err := t.b.Get(t.ctx, bs(k))
					if err == nil && string(it.Value) != k || err != nil && storage.CodeOf(err) != storage.NotFound {
						t.Fatalf("Get(%q) = %s, %v", k, quote(it.Value), err)
					}
				}
			})
			stop()
		}),
		is("same_key_writers", 0, func(t *T) {
			t.parallel(16, func(i int) {
				for n := range 50 {
					t.set("k", fmt.Sprintf("writer %02d, write %02d", i, n))
				}
			})
			if v := t.item("k").Value; len(v) != len("writer 00, write 49") || string(v[len(v)-2:]) != "49" {
				t.Errorf("the last write is %s", quote(v))
			}
		}),
	)
}

// oneWinner demands that of n at once one succeeds and the others conflict.
func (t *T) oneWinner(n int, try func(i int) error) {
	var won atomic.Int32
	t.parallel(n, func(i int) {
		switch err := try(i); {
		case err == nil:
			won.Add(1)
		default:
			t.wantCode(err, storage.Conflict)
		}
	})
	if got := won.Load(); got != 1 {
		t.Fatalf("%d of %d succeeded", got, n)
	}
}

// patient repeats for as long as it takes, with short pauses.
func (t *T) patient() *storage.Store {
	return storage.New(t.b, storage.Settings{Clock: t.clock.Now,
		Retry: storage.Backoff{Attempts: 10_000, Base: 10 * time.Microsecond, Cap: 2 * time.Millisecond}})
}

func noIncrementIsLost(t *T) {
	const clients, increments = 8, 50
	s := t.patient()
	t.parallel(clients, func(int) {
		for range increments {
			t.must(s.Update(t.ctx, func(tx *storage.Txn) error {
				n, err := number(tx.Get(t.ctx, bs("n")))
				if err != nil {
					return err
				}
				return tx.Set(t.ctx, bs("n"), strconv.AppendInt(nil, int64(n+1), 10))
			}))
		}
	})
	t.wantValue("n", fmt.Sprint(clients*increments))
}

// number returns a stored number; 0 where there is none.
func number(v []byte, err error) (int, error) {
	if storage.CodeOf(err) == storage.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(v))
}

// transfersKeepTheSum moves money between accounts while others add it all up.
func transfersKeepTheSum(t *T) {
	const accounts, each = 6, 100
	s := t.patient()
	key := func(i int) []byte { return fmt.Appendf(nil, "account %d", i%accounts) }
	for i := range accounts {
		t.set(string(key(i)), fmt.Sprint(each))
	}
	sum := func() {
		total := 0
		t.must(s.Update(t.ctx, func(tx *storage.Txn) error {
			total = 0
			for i := range accounts {
				n, err := number(tx.Get(t.ctx, key(i)))
				if err != nil {
					return err
				}
				total += n
			}
			return nil
		}))
		if total != accounts*each {
			t.Fatalf("the accounts add up to %d, want %d", total, accounts*each)
		}
	}
	t.parallel(5, func(i int) {
		for n := range 40 {
			if i == 0 {
				sum()
				continue
			}
			from, to := key(i+n), key(2*i+3*n+1)
			t.must(s.Update(t.ctx, func(tx *storage.Txn) error {
				a, err := number(tx.Get(t.ctx, from))
				if err != nil || a == 0 {
					return err
				}
				if err := tx.Set(t.ctx, from, strconv.AppendInt(nil, int64(a-1), 10)); err != nil {
					return err
				}
				b, err := number(tx.Get(t.ctx, to)) // may be the same account
				if err != nil {
					return err
				}
				return tx.Set(t.ctx, to, strconv.AppendInt(nil, int64(b+1), 10))
			}))
		}
	})
	sum()
}

// mixedWork does a bit of everything at once; nothing may fail.
func mixedWork(t *T) {
	t.parallel(8, func(i int) {
		for n := range 100 {
			k := fmt.Sprintf("k%02d", (i*7+n)%40)
			switch (i + n) % 6 {
			case 0, 1:
				t.set(k, k)
			case 2:
				t.del(k)
			case 3:
				for _, it := range t.all(storage.Query{Limit: 20}) {
					if len(it.Value) > 0 && string(it.Value) != string(it.Key) {
						t.Fatalf("%q holds %s", it.Key, quote(it.Value))
					}
				}
			case 4:
				if t.has(storage.CapTTL) {
					t.setTTL(k, k, time.Minute)
				}
			default:
				if n%30 == 0 {
					t.clear(bs("k10"), bs("k20"))
				}
				_, err := t.b.GetMany(t.ctx, [][]byte{bs(k), bs("k00")})
				t.must(err)
			}
		}
	})
}

// expiryBesideReads moves the clock during concurrent reads: after one reader has seen
// that a key has expired, no reader sees it again.
func expiryBesideReads(t *T) {
	const keys = 50
	for i := range keys {
		t.setTTL(fmt.Sprintf("k%02d", i), "v", time.Duration(i+1)*time.Second)
	}
	var gone [keys]atomic.Bool
	t.parallel(4, func(i int) {
		for n := range 300 {
			if i == 0 {
				if n%5 == 0 {
					t.clock.Advance(time.Second)
				}
				continue
			}
			k := n % keys
			seen := gone[k].Load()
			_, err := t.b.Get(t.ctx, fmt.Appendf(nil, "k%02d", k))
			switch {
			case err == nil && seen:
				t.Fatalf("k%02d is back from the dead", k)
			case err != nil:
				t.wantCode(err, storage.NotFound)
				gone[k].Store(true)
			}
		}
	})
	t.clock.Advance(time.Minute)
	t.wantKeys(nil, nil)
}

// renewedInTime has others read a key that is kept alive, each time shortly before
// its end, as the holder of a lease does: none of them finds it absent.
func renewedInTime(t *T) {
	const lease = 10 * time.Minute
	t.setTTL("k", "v", lease)
	stop := t.background(1, func(int) {
		t.clock.Advance(lease - time.Minute)
		t.setTTL("k", "v", lease)
	})
	defer stop()
	t.parallel(3, func(i int) {
		for range 300 {
			found := 1
			var err error
			switch i {
			case 0:
				_, err = t.b.Get(t.ctx, bs("k"))
			case 1:
				var items []storage.Item
				items, err = t.b.GetMany(t.ctx, [][]byte{bs("k")})
				found = len(items)
			default:
				var page storage.Page
				page, err = t.b.Scan(t.ctx, storage.Query{Start: bs("k"), End: bs("l")})
				found = len(page.Items)
			}
			if storage.CodeOf(err) == storage.NotFound || err == nil && found == 0 {
				t.Fatalf("a key that was renewed before its end is absent")
			}
			t.must(err)
		}
	})
}
