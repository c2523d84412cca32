package storagetest

import (
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// spaceChecks returns the checks of a backend whose space ends: [Factory.Full].
func spaceChecks() []Check {
	return in("space",
		is("nothing_of_a_refused_write_set_stays", storage.CapAtomic, noHalfWriteSet),
		is("reads_and_deletes_go_on", 0, fullGoesOn),
		is("a_conflict_comes_before_it", 0, func(t *T) {
			t.full()
			t.filled(time.Time{})
			_, err := t.s.Put(t.ctx, fillKey(0), t.block(), storage.IfAbsent())
			t.wantCode(err, storage.Conflict)
		}),
		is("a_refusal_is_not_remembered", storage.CapIdempotent, refusedForSpace),
		is("replaced_items_give_it_back", 0, func(t *T) {
			t.full()
			n := t.filled(time.Time{})
			t.clear(nil, nil)
			for i := range 3 * n {
				t.again(fmt.Sprintf("write %d of one key, into a space of %d items,", i, n), func() error {
					return t.s.Set(t.ctx, bs("k"), t.block())
				})
			}
		}),
		is("deleted_items_give_it_back", 0, func(t *T) {
			t.full()
			n := t.filled(time.Time{})
			for round := range 3 {
				for i := range n / 2 {
					t.must(t.s.Delete(t.ctx, fillKey(i)))
				}
				for i := range n / 4 {
					t.again(fmt.Sprintf("in round %d, item %d of %d after as many deletes as %d", round, i, n/4, n/2), func() error {
						return t.s.Set(t.ctx, fillKey(i), t.block())
					})
				}
			}
		}),
		is("expired_items_give_it_back", storage.CapTTL, func(t *T) {
			t.full()
			n := t.filled(t.clock.Now().Add(time.Minute))
			t.clock.Advance(time.Minute + t.step())
			for i := range n / 2 {
				t.again(fmt.Sprintf("item %d, after %d have expired,", i, n), func() error {
					return t.s.Set(t.ctx, fmt.Appendf(nil, "new%d", i), t.block())
				})
			}
		}),
	)
}

// full gives the check a backend with little space.
func (t *T) full() {
	if t.factory.Full == nil {
		t.notApplicable("the factory makes no backend with little space")
	}
	t.use(t.factory.Full(t.ctx))
}

// fillBlock is how large the items are that a space is filled with, and mostFilled how much
// space may be, in bytes.
const (
	fillBlock  = 64 << 10
	mostFilled = 256 << 20
)

func (t *T) block() []byte {
	return make([]byte, min(fillBlock, tryable(t.info.Limits.Value, fillBlock)))
}

func fillKey(i int) []byte { return fmt.Appendf(nil, "fill%07d", i) }

// filled writes items that expire at until, if it is not zero, up to the end of the space,
// and returns their number.
func (t *T) filled(until time.Time) (n int) {
	value := t.block()
	for ; n*len(value) < mostFilled && n < 1<<16; n++ {
		err := t.try(nil, storage.PutUntil(fillKey(n), value, until))
		if err == nil {
			continue
		}
		if e := t.wantCode(err, storage.NoSpace); e.Unknown {
			t.Fatalf("item %d of %d bytes: %v is said to be of unknown outcome", n, len(value), err)
		}
		if n < 8 {
			t.notApplicable(fmt.Sprintf("there is space for %d items of %d bytes only", n, len(value)))
		}
		t.wantAbsent(string(fillKey(n)))
		return n
	}
	t.notApplicable(fmt.Sprintf("there is space for more than %d items of %d bytes", n, len(value)))
	return 0
}

// again repeats a write that finds no space for some seconds: space need not come back at
// once.
func (t *T) again(what string, write func() error) {
	err := write()
	for tries := 0; storage.CodeOf(err) == storage.NoSpace && tries < 100; tries++ {
		time.Sleep(20 * time.Millisecond)
		err = write()
	}
	if err != nil {
		t.Fatalf("%s: %v, although there is space again", what, err)
	}
}

// noHalfWriteSet has a write set run out of space behind ops that would have fitted.
func noHalfWriteSet(t *T) {
	t.full()
	n := t.filled(time.Time{})
	kept := t.item(string(fillKey(2)))
	for _, i := range []int{4, 5, 6} { // room for some of it
		t.must(t.s.Delete(t.ctx, fillKey(i)))
	}
	before := t.scan(storage.Query{Limit: 1}).Version
	ops := []storage.Op{storage.Put(bs("a"), bs("small")), storage.Delete(fillKey(1)), storage.Put(fillKey(2), bs("replaced")), storage.DeleteRange(fillKey(3), fillKey(4))}
	for i := range 16 {
		ops = append(ops, storage.Put(fmt.Appendf(nil, "b%02d", i), t.block()))
	}
	if l := t.info.Limits; l.Ops > 0 && l.Ops < len(ops) || l.WriteBytes > 0 && l.WriteBytes < 17*len(t.block()) {
		t.notApplicable("a write set cannot be that large")
	}
	err := t.try(nil, ops...)
	if err == nil {
		t.notApplicable("the space was not at its end")
	}
	if e := t.wantCode(err, storage.NoSpace); e.Unknown {
		t.Fatalf("%v is said to be of unknown outcome", err)
	}
	for _, op := range ops[4:] {
		t.wantAbsent(string(op.Key))
	}
	t.wantAbsent("a")
	for _, i := range []int{1, 3} {
		if it := t.item(string(fillKey(i))); len(it.Value) != len(t.block()) {
			t.Errorf("%q, which a refused write set deletes, has %d bytes, want %d", fillKey(i), len(it.Value), len(t.block()))
		}
	}
	if it := t.item(string(fillKey(2))); len(it.Value) != len(kept.Value) || it.Version != kept.Version {
		t.Errorf("%q, which a refused write set replaces, has %d bytes at version %d, want %d at %d", fillKey(2), len(it.Value), it.Version, len(kept.Value), kept.Version)
	}
	if page := t.scan(storage.Query{Limit: 1}); page.Version != before {
		t.Errorf("a refused write set took the store from version %d to %d", before, page.Version)
	}
	if items := t.all(storage.Query{KeysOnly: true}); len(items) != n-3 {
		t.Errorf("%d items are there, want %d; the last is %q", len(items), n-3, lastKey(items))
	}
}

// fullGoesOn reads, checks, deletes, and writes again.
func fullGoesOn(t *T) {
	t.full()
	n := t.filled(time.Time{})
	if it := t.item(string(fillKey(n - 1))); len(it.Value) != len(t.block()) {
		t.Errorf("the last item has %d bytes, want %d", len(it.Value), len(t.block()))
	}
	if items := t.all(storage.Query{KeysOnly: true}); len(items) != n {
		t.Errorf("a scan gives %d items, want %d", len(items), n)
	}
	if _, err := t.b.Health(t.ctx, storage.Liveness); err != nil {
		t.Errorf("Health: %v", err)
	}
	t.must(t.s.Delete(t.ctx, fillKey(0)))
	t.wantAbsent(string(fillKey(0)))
	t.clear(fillKey(1), fillKey(n/2))
	if items := t.all(storage.Query{KeysOnly: true}); len(items) != n-n/2 {
		t.Errorf("after a clear a scan gives %d items, want %d", len(items), n-n/2)
	}
	t.again("a small item after deletes", func() error { return t.s.Set(t.ctx, bs("small"), bs("v")) })
	t.wantValue("small", "v")
}

// refusedForSpace has a write set with an ID come again when there is space.
func refusedForSpace(t *T) {
	t.full()
	n := t.filled(time.Time{})
	w := t.identified(1, storage.Put(bs("k"), t.block()))
	_, err := t.b.Apply(t.ctx, w)
	if err == nil {
		t.notApplicable("the space was not at its end")
	}
	t.wantCode(err, storage.NoSpace)
	t.clear(fillKey(0), fillKey(n/2))
	t.again("a write set with the ID of one that was refused", func() error { return errOf(t.b.Apply(t.ctx, w)) })
	if it := t.item("k"); len(it.Value) != len(t.block()) {
		t.Errorf("its item has %d bytes, want %d", len(it.Value), len(t.block()))
	}
}
