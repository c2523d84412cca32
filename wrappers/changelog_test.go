package wrappers_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// The blocks of a log are used again once they have no readers: followers that are ahead, behind
// and far behind find in every change what was written at its version.
func TestBlocksAreUsedAgain(t *testing.T) {
	_, store := followed(t, time.Now, nil)
	b := store.Backend()
	first := now(t, store)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { check(t, b, first, time.Duration(i*i)*5*time.Millisecond, stop) })
	}
	written := 0
	for end := time.Now().Add(2 * time.Second); written < 250_000 && time.Now().Before(end) || written < 100_000; written++ {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("key"), content(first+uint64(written)+1))}}
		if written%50 == 0 { // several, and large
			w.Ops = append(w.Ops, storage.Put([]byte("more"), make([]byte, written%7_000)), storage.Delete([]byte("none")))
		}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	all.Wait()
	q := storage.ChangeQuery{After: first, Limit: 1}
	if _, err := b.Changes(t.Context(), q); storage.CodeOf(err) != storage.VersionGone {
		t.Errorf("%d write sets later, the first is still kept: %v", written, err)
	}
	q.After = first + uint64(written) - 30_000
	if page, err := b.Changes(t.Context(), q); err != nil || page.Next != q.After+1 {
		t.Errorf("the changes 30,000 versions ago: next %d, want %d (%v)", page.Next, q.After+1, err)
	}
}

// content is what is written at a version.
func content(version uint64) []byte {
	return []byte(strings.Repeat(fmt.Sprint(version), 1+int(version%20)))
}

// check follows b from a version on, with a pause after each page, until stop.
func check(t *testing.T, b storage.Backend, after uint64, pause time.Duration, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		page, err := b.Changes(t.Context(), storage.ChangeQuery{After: after, Wait: time.Millisecond})
		if storage.CodeOf(err) == storage.VersionGone { // it was too slow
			page, err = b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
			after = page.Next
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range page.Changes {
			if string(c.Key) != "key" {
				continue
			}
			if after++; c.Version != after || string(c.Value) != string(content(after)) {
				t.Errorf("version %d after %d is %q", c.Version, after-1, c.Value)
				return
			}
			time.Sleep(pause / time.Duration(len(page.Changes)))
		}
	}
}
