package storagetest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// soon limits how long a check waits for what comes at once, unless something is wrong.
const soon = 10 * time.Second

func changeChecks() []Check {
	checks := in("changes",
		is("from_now", 0, func(t *T) {
			t.set("before", "v")
			now := t.now()
			if page := t.changes(storage.ChangeQuery{After: now}); len(page.Changes) > 0 || page.Next != now {
				t.Errorf("nothing was written since version %d, and the page is %s up to %d", now, show(page.Changes), page.Next)
			}
			v := t.apply(storage.Put(bs("k"), nil))
			if later := t.now(); later != v {
				t.Errorf("the version is %d now, the last write landed at %d", later, v)
			}
		}),
		is("own_writes", 0, ownWrites),
		is("kinds", 0, kindsOfChanges),
		is("ranges", 0, rangesOfChanges),
		is("a_version_of_a_scan_is_one_to_follow", 0, func(t *T) {
			t.now() // they are followed from here on
			t.set("a", "1")
			page := t.scan(storage.Query{})
			t.set("b", "2")
			if got := show(t.changes(storage.ChangeQuery{After: page.Version}).Changes); got != `put "b"` {
				t.Errorf("after the version of a scan it is %s", got)
			}
		}),
		is("pages_leave_no_gap_and_repeat_nothing", 0, pagesOfChanges),
		is("write_sets_are_whole", storage.CapAtomic, wholeWriteSets),
		is("refused_writes_are_none", 0, func(t *T) {
			t.set("k", "v")
			now := t.now()
			t.wantCode(t.try([]storage.Check{storage.Absent(bs("k"))}, storage.Put(bs("k"), bs("x"))), storage.Conflict)
			_, err := t.b.Apply(t.ctx, &storage.WriteSet{})
			t.must(err)
			if page := t.changes(storage.ChangeQuery{After: now}); len(page.Changes) > 0 {
				t.Errorf("a refused write set is reported as %s", show(page.Changes))
			}
		}),
		is("expiry", storage.CapTTL, expiryIsAChange),
		is("versions_that_are_not_there", 0, func(t *T) {
			t.set("k", "v")
			now := t.now()
			for _, after := range []uint64{now + 1, 1 << 63, ^uint64(0)} {
				_, err := t.b.Changes(t.ctx, storage.ChangeQuery{After: after, Wait: time.Minute})
				t.wantCode(err, storage.VersionGone)
			}
			page := t.changes(storage.ChangeQuery{After: now})
			if page.Next != now {
				t.Errorf("after refusals the version is %d, want %d", page.Next, now)
			}
		}),
		is("max_bytes", 0, func(t *T) {
			now := t.now()
			for i := range 10 {
				t.apply(storage.Put(fmt.Appendf(nil, "k%d", i), make([]byte, 98)))
			}
			t.until(storage.ChangeQuery{After: now}, count(10))
			for _, most := range []int{1, 150, 350, 5000} {
				page, size := t.changes(storage.ChangeQuery{After: now, MaxBytes: most}), 0
				for _, c := range page.Changes {
					size += len(c.Key) + len(c.Value)
				}
				if n := len(page.Changes); n > 1 && size > most {
					t.Errorf("max bytes %d: %d changes with %d bytes", most, n, size)
				}
			}
		}),
		is("nonsense_is_refused", 0, func(t *T) {
			now := t.now()
			for _, q := range []storage.ChangeQuery{{Limit: -1}, {MaxBytes: -1}, {Wait: -1}, {Wait: -time.Hour, FromNow: true}} {
				if !q.FromNow {
					q.After = now
				}
				_, err := t.b.Changes(t.ctx, q)
				t.wantCode(err, storage.InvalidArgument)
			}
		}),
		is("results_are_the_caller's", 0, func(t *T) {
			now := t.now()
			start, end := bs("a"), bs("z")
			t.set("k", "value")
			t.must(errOf(t.s.ClearRange(t.ctx, bs("a"), bs("z"))))
			t.until(storage.ChangeQuery{After: now}, count(2))
			page := t.changes(storage.ChangeQuery{Start: start, End: end, After: now})
			before := show(page.Changes)
			scribble(start, end)
			if got := show(page.Changes); got != before {
				t.Errorf("the page changed with its bounds from %s to %s", before, got)
			}
			for i := range page.Changes {
				scribble(page.Changes[i].Key, page.Changes[i].Value)
			}
			if again := show(t.changes(storage.ChangeQuery{Start: bs("a"), End: bs("z"), After: now}).Changes); again != before {
				t.Errorf("what a caller does to a page changes the next: %s, before %s", again, before)
			}
		}),
		is("wait", 0, waits),
		is("idle_followers", 0, idleFollowers),
		is("followers_come_to_the_state", 0, followersComeToTheState),
		is("from_scan", 0, fromScan),
	)
	for i := range checks {
		checks[i].Needs |= storage.CapChanges | storage.CapVersions
	}
	return checks
}

// now returns the version to follow from now on.
func (t *T) now() uint64 {
	page, err := t.b.Changes(t.ctx, storage.ChangeQuery{FromNow: true, Wait: soon})
	t.must(err)
	if len(page.Changes) > 0 || page.Next == 0 {
		t.Fatalf("from now on it is %s, up to %d", show(page.Changes), page.Next)
	}
	return page.Next
}

// changes returns a page, which must be one of q. What was acknowledged may come a moment later,
// where writes before it are under way: with q.Wait 0 the page is waited for no longer than
// until there is one.
func (t *T) changes(q storage.ChangeQuery) storage.ChangePage {
	page, err := t.b.Changes(t.ctx, q)
	t.must(err)
	t.wantChanges(q, page)
	return page
}

// wantChanges demands that a page is one of q.
func (t *T) wantChanges(q storage.ChangeQuery, page storage.ChangePage) {
	if page.Next < q.After {
		t.Fatalf("the page goes back from version %d to %d", q.After, page.Next)
	}
	last := q.After
	for _, c := range page.Changes {
		if c.Version <= q.After || c.Version < last || c.Version > page.Next {
			t.Fatalf("a change has version %d, after %d, on a page from %d to %d", c.Version, last, q.After, page.Next)
		}
		last = c.Version
		clipped := c
		if !q.Clip(&clipped) || !bytes.Equal(clipped.Key, c.Key) || !bytes.Equal(clipped.End, c.End) {
			t.Fatalf("%.200s is beyond the range that was asked for", show([]storage.Change{c}))
		}
		if c.Kind == storage.ChangePut && c.Value == nil || c.Kind != storage.ChangePut && (c.Value != nil || !c.ExpiresAt.IsZero()) ||
			c.Kind != storage.ChangeDeleteRange && c.End != nil || c.Kind < storage.ChangePut || c.Kind > storage.ChangeExpired {
			t.Fatalf("a change of kind %d has a field that it must not have, or misses one: %+v", c.Kind, c)
		}
	}
}

// until collects changes after a version until enough says so, in pages of q's sizes.
func (t *T) until(q storage.ChangeQuery, enough func([]storage.Change) bool) (all []storage.Change, next uint64) {
	q.Wait = time.Second
	for end := time.Now().Add(soon); !enough(all); {
		if time.Now().After(end) {
			t.Fatalf("within %s there was only %s", soon, show(all))
		}
		page := t.changes(q)
		all, q.After = append(all, page.Changes...), page.Next
	}
	return all, q.After
}

func count(n int) func([]storage.Change) bool {
	return func(all []storage.Change) bool { return len(all) >= n }
}

// show returns changes in short.
func show(changes []storage.Change) string {
	var all []string
	for _, c := range changes {
		text := fmt.Sprintf("%s %q", c.Kind, c.Key)
		if c.Kind == storage.ChangeDeleteRange && c.End != nil {
			text += fmt.Sprintf("…%q", c.End)
		} else if c.Kind == storage.ChangeDeleteRange {
			text += "…"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// ownWrites demands each write among the changes, at its version and complete.
func ownWrites(t *T) {
	after := t.now()
	for i, value := range [][]byte{bs("v"), {}, bytes.Repeat([]byte{0, 0xff}, 100)} {
		key := append(bs("k"), byte(i), 0, 0xff)
		v := t.apply(storage.Put(key, value))
		all, _ := t.until(storage.ChangeQuery{After: after}, count(1))
		if c := all[0]; len(all) != 1 || c.Kind != storage.ChangePut || !bytes.Equal(c.Key, key) || !bytes.Equal(c.Value, value) || c.Version != v || !c.ExpiresAt.IsZero() {
			t.Errorf("a put at version %d is reported as %s, %+v", v, show(all), c)
		}
		after = v
	}
	v := t.apply(storage.Put(nil, nil))
	if all, _ := t.until(storage.ChangeQuery{After: after}, count(1)); len(all[0].Key) != 0 || all[0].Version != v {
		t.Errorf("a put of the empty key at version %d is reported as %+v", v, all[0])
	}
	if !t.has(storage.CapTTL) {
		return
	}
	at := t.clock.Now().Add(time.Hour).Truncate(t.step())
	w := t.apply(storage.PutUntil(bs("k"), bs("v"), at))
	if all, _ := t.until(storage.ChangeQuery{After: v}, count(1)); all[0].Version != w || all[0].ExpiresAt.Before(at) || all[0].ExpiresAt.Sub(at) >= t.step() {
		t.Errorf("a put at version %d that expires at %s is reported as %+v", w, at, all[0])
	}
}

func kindsOfChanges(t *T) {
	t.setAll("a", "b", "c", "d")
	after := t.now()
	t.set("a", "again")
	t.del("b")
	t.must(errOf(t.s.ClearRange(t.ctx, bs("c"), bs("e"))))
	t.set("end", "v")
	all, _ := t.until(storage.ChangeQuery{After: after}, func(all []storage.Change) bool {
		return len(all) > 0 && string(all[len(all)-1].Key) == "end"
	})
	got := map[string]string{"c": "c", "d": "d", "b": "b"}
	for _, c := range all {
		replay(got, c)
	}
	if want := map[string]string{"a": "again", "end": "v"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s leave %v, want %v", show(all), got, want)
	}
}

// replay does a change to a state.
func replay(state map[string]string, c storage.Change) {
	switch c.Kind {
	case storage.ChangePut:
		state[string(c.Key)] = string(c.Value)
	case storage.ChangeDeleteRange:
		for key := range state {
			if storage.InRange([]byte(key), c.Key, c.End) {
				delete(state, key)
			}
		}
	default:
		delete(state, string(c.Key))
	}
}

func rangesOfChanges(t *T) {
	t.setAll("a", "b", "c", "d")
	after := t.now()
	t.setAll("a", "b", "c", "d")
	t.must(errOf(t.s.ClearRange(t.ctx, nil, nil)))
	last := t.apply(storage.Put(bs("zz"), nil))
	t.until(storage.ChangeQuery{After: after}, func(all []storage.Change) bool { return len(all) > 0 && all[len(all)-1].Version == last })
	for _, r := range []struct {
		start, end []byte
		keys       string
	}{
		{nil, nil, "a b c d zz"}, {bs("b"), bs("d"), "b c"}, {bs("b"), nil, "b c d zz"}, {nil, bs("b"), "a"}, {bs("d"), bs("b"), ""},
		{nil, bs(""), ""}, {bs("b"), storage.After(bs("b")), "b"}, {bytes.Repeat(bs("b"), 1<<17), bs("d"), "c"},
	} {
		page := t.changes(storage.ChangeQuery{Start: r.start, End: r.end, After: after})
		var puts []string
		for _, c := range page.Changes {
			if c.Kind == storage.ChangePut {
				puts = append(puts, string(c.Key))
			}
		}
		if got := strings.Join(puts, " "); got != r.keys || page.Next < last {
			t.Errorf("in [%.9q, %q) the puts are %q up to version %d, want %q up to %d", r.start, r.end, got, page.Next, r.keys, last)
		}
	}
}

// pagesOfChanges follows in pages of all sizes: what they have together is the same.
func pagesOfChanges(t *T) {
	after := t.now()
	var last uint64
	for i := range 40 {
		last = t.apply(storage.Put([]byte{byte('a' + i%7)}, bytes.Repeat(bs("v"), i)))
	}
	done := func(all []storage.Change) bool { return len(all) > 0 && all[len(all)-1].Version == last }
	whole, _ := t.until(storage.ChangeQuery{After: after}, done)
	if len(whole) != 40 {
		t.Fatalf("40 puts are told as %s", show(whole))
	}
	for _, q := range []storage.ChangeQuery{{Limit: 1}, {Limit: 3}, {Limit: 1000}, {MaxBytes: 1}, {MaxBytes: 100}, {Limit: 2, MaxBytes: 30}, {Limit: 1 << 40, MaxBytes: 1 << 40}} {
		q.After = after
		paged, _ := t.until(q, done)
		if fmt.Sprint(paged) != fmt.Sprint(whole) {
			t.Errorf("in pages of %d changes and %d bytes it is %s, want %s", q.Limit, q.MaxBytes, show(paged), show(whole))
		}
	}
	for i, c := range whole { // from any version in between
		if page := t.changes(storage.ChangeQuery{After: c.Version}); len(page.Changes) != 39-i {
			t.Errorf("after change %d of 40 there are %d", i+1, len(page.Changes))
		}
	}
}

func wholeWriteSets(t *T) {
	after := t.now()
	const n, sets = 5, 8
	for i := range sets {
		var ops []storage.Op
		for k := range n {
			ops = append(ops, storage.Put([]byte{byte('a' + k)}, []byte{byte(i)}))
		}
		t.apply(ops...)
	}
	for _, q := range []storage.ChangeQuery{{Limit: 1}, {Limit: n + 1}, {MaxBytes: 1}, {}} {
		q.After = after
		for given := 0; given < n*sets; {
			q.Wait = soon
			page := t.changes(q)
			if len(page.Changes) == 0 || len(page.Changes)%n != 0 || q.Limit == 1 && len(page.Changes) != n {
				t.Fatalf("with a limit of %d changes a page has %d, of write sets of %d", q.Limit, len(page.Changes), n)
			}
			for i, c := range page.Changes {
				if want := byte('a' + i%n); c.Key[0] != want || c.Version != page.Changes[i-i%n].Version {
					t.Fatalf("the changes of a write set are %s", show(page.Changes))
				}
			}
			given, q.After = given+len(page.Changes), page.Next
		}
	}
}

func expiryIsAChange(t *T) {
	t.setTTL("before", "v", time.Minute)
	after := t.now()
	t.setTTL("a", "v", time.Minute)
	t.setTTL("replaced", "v", time.Minute)
	t.setTTL("deleted", "v", time.Minute)
	put := t.apply(storage.Put(bs("replaced"), bs("v")))
	t.del("deleted")
	t.changes(storage.ChangeQuery{After: put, Start: bs("x"), Wait: 100 * time.Millisecond}) // so that there is a follower
	t.clock.Advance(time.Minute)
	t.wantAbsent("a")
	gone := func(all []storage.Change) (keys map[string]uint64) {
		keys = map[string]uint64{}
		for _, c := range all {
			if c.Kind == storage.ChangeExpired {
				keys[string(c.Key)] = c.Version
			}
		}
		return keys
	}
	all, _ := t.until(storage.ChangeQuery{After: after}, func(all []storage.Change) bool { return gone(all)["a"] != 0 })
	expired := gone(all)
	if expired["a"] <= put || expired["replaced"] != 0 {
		t.Errorf("the items expired at %v, after version %d", expired, put)
	}
	t.set("a", "again")
	state := map[string]string{"before": "v"}
	all, _ = t.until(storage.ChangeQuery{After: after}, func(all []storage.Change) bool {
		return len(all) > 0 && string(all[len(all)-1].Value) == "again"
	})
	for _, c := range all {
		replay(state, c)
	}
	if state["a"] != "again" || state["replaced"] != "v" || state["deleted"] != "" {
		t.Errorf("%s leave %v", show(all), state)
	}
}
