package storagetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// waits has a follower be woken by a write to its range, and not by others, and end by itself
// and with its caller.
func waits(t *T) {
	after := t.now()
	begin := time.Now()
	page := t.changes(storage.ChangeQuery{After: after, Wait: 100 * time.Millisecond})
	if took := time.Since(begin); len(page.Changes) > 0 || took < 100*time.Millisecond || took > soon {
		t.Errorf("a wait of 100 ms for nothing took %s, and gave %s", took, show(page.Changes))
	}
	found := make(chan storage.ChangePage, 1)
	go func() {
		q := storage.ChangeQuery{Start: bs("k"), End: bs("l"), After: after, Wait: soon}
		page, err := t.b.Changes(t.ctx, q)
		if err != nil {
			t.Errorf("the follower ended with %v", err)
		}
		found <- page
	}()
	time.Sleep(20 * time.Millisecond)
	t.set("other", "v")
	v := t.apply(storage.Put(bs("k"), bs("v")))
	if page := <-found; show(page.Changes) != `put "k"` || page.Changes[0].Version != v {
		t.Errorf("a follower that waits is woken with %s, want the put of k at version %d", show(page.Changes), v)
	}
	leavesAWait(t)
}

// leavesAWait has callers leave while they wait for changes.
func leavesAWait(t *T) {
	ctx, cancel := context.WithCancel(t.ctx)
	ended := make(chan error, 1)
	after := t.now()
	go func() {
		_, err := t.b.Changes(ctx, storage.ChangeQuery{After: after, Wait: storage.MostWait})
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		t.wantCode(err, storage.Canceled)
	case <-time.After(soon):
		t.Fatalf("a follower waits on although its caller has left")
	}
	ctx, cancel = context.WithTimeout(t.ctx, 50*time.Millisecond)
	defer cancel()
	_, err := t.b.Changes(ctx, storage.ChangeQuery{After: after, Wait: storage.MostWait})
	t.wantCode(err, storage.Timeout)
}

// idleFollowers has many wait for what does not come, and then for one write.
func idleFollowers(t *T) {
	const followers = 500
	after := t.now()
	ctx, cancel := context.WithTimeout(t.ctx, 6*soon)
	defer cancel()
	begin, written := time.Now(), false
	stop := t.background(1, func(int) {
		time.Sleep(20 * time.Millisecond)
		t.apply(storage.Put(bs("other"), nil)) // which is nothing to them
		if !written && time.Since(begin) > 200*time.Millisecond {
			written = true
			t.apply(storage.Put(bs("k"), bs("v")))
		}
	})
	t.parallel(followers, func(i int) {
		q := storage.ChangeQuery{Start: bs("k"), End: bs("l"), After: after, Wait: soon}
		for {
			page, err := t.b.Changes(ctx, q)
			t.must(err)
			if len(page.Changes) > 0 {
				if show(page.Changes) != `put "k"` {
					t.Errorf("one of %d followers got %s", followers, show(page.Changes))
				}
				return
			}
			q.After = page.Next
		}
	})
	stop()
}

// followersComeToTheState has several follow while several write: each comes to the state of
// the store.
func followersComeToTheState(t *T) {
	after := t.now()
	const writers, writes, followers = 4, 60, 3
	states := make([]map[string]string, followers)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.parallel(writers, func(i int) {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for n := range writes {
				key := string(rune('a' + r.IntN(9)))
				switch r.IntN(6) {
				case 0:
					t.del(key)
				case 1:
					t.must(errOf(t.s.ClearRange(t.ctx, bs(key), bs("m"))))
				default:
					t.set(key, fmt.Sprint(i, n))
				}
			}
		})
	}()
	t.parallel(followers, func(i int) {
		state, q := map[string]string{}, storage.ChangeQuery{After: after, Limit: 1 + 5*i, Wait: 50 * time.Millisecond}
		for over := false; ; {
			page := t.changes(q)
			for _, c := range page.Changes {
				replay(state, c)
			}
			q.After = page.Next
			if over && len(page.Changes) == 0 {
				break
			}
			select {
			case <-done:
				over = true
			default:
			}
		}
		states[i] = state
	})
	want := map[string]string{}
	for _, it := range t.all(storage.Query{}) {
		want[string(it.Key)] = string(it.Value)
	}
	for i, got := range states {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("follower %d came to %v, the store is %v", i, got, want)
		}
	}
}

// fromScan lets a follower begin with the state while there are writes.
func fromScan(t *T) {
	for i := range 60 {
		t.set(fmt.Sprintf("k%02d", i), "before")
	}
	f := t.s.Changes(nil, nil, storage.ChangesOptions{FromScan: true, PageChanges: 7, Wait: 50 * time.Millisecond})
	r := rand.New(rand.NewPCG(1, 2))
	state := map[string]string{}
	for round := 0; ; round++ {
		page, err := f.Page(t.ctx)
		t.must(err)
		for _, c := range page.Changes {
			replay(state, c)
		}
		if round < 30 {
			for range r.IntN(4) {
				key := fmt.Sprintf("k%02d", r.IntN(70))
				if r.IntN(3) == 0 {
					t.del(key)
				} else {
					t.set(key, fmt.Sprint(round))
				}
			}
		} else if _, scanned := f.Version(); scanned && len(page.Changes) == 0 {
			break
		}
	}
	want := map[string]string{}
	for _, it := range t.all(storage.Query{}) {
		want[string(it.Key)] = string(it.Value)
	}
	if fmt.Sprint(state) != fmt.Sprint(want) {
		t.Errorf("it came to %v, the store is %v", state, want)
	}
}
