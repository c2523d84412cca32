//go:build unix

package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/internal/changetest"
	"github.com/plinthkv/plinth/storage"
)

// The changes after any version that a scan has seen, done to what it saw, are what there is
// now: whether they are recent, or from before the first follower.
func TestChangesLeadToTheState(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	prefix := aPrefix()
	b := c.open(t, prefix)
	type seen struct {
		q       storage.Query
		state   map[string]string
		version uint64
	}
	var all []seen
	key := func() []byte { return fmt.Appendf(nil, "%c", 'a'+rand.IntN(6)) }
	for i := range 60 {
		var ops []storage.Op
		for range 1 + rand.IntN(4) {
			switch rand.IntN(5) {
			case 0:
				ops = append(ops, storage.Delete(key()))
			case 1:
				ops = append(ops, storage.Op{Kind: storage.OpDeleteRange, Key: key(), End: key()})
			default:
				ops = append(ops, storage.Put(key(), fmt.Append(nil, i)))
			}
		}
		changetest.Apply(t, b, ops...)
		s := seen{q: storage.Query{Start: key()}}
		if i%2 == 0 {
			s.q.End = key()
		}
		s.state, s.version = changetest.State(t, b, s.q)
		all = append(all, s)
		if i == 30 { // from here on there is a tail
			if _, err := b.Changes(t.Context(), storage.ChangeQuery{After: s.version}); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := c.open(t, prefix) // has no tail
	for _, b := range []*Backend{b, other} {
		for i, s := range all {
			if b == other && i%12 > 0 { // each page there has a watch of its own
				continue
			}
			changes, _ := changetest.After(t, b, storage.ChangeQuery{Start: s.q.Start, End: s.q.End, After: s.version, Limit: rand.IntN(3)})
			want, _ := changetest.State(t, b, s.q)
			if got := changetest.Replay(s.state, changes); !maps.Equal(got, want) {
				t.Fatalf("after %d: %v, want %v; by %+v", s.version, got, want, changes)
			}
		}
	}
	changes, _ := changetest.After(t, other, storage.ChangeQuery{}) // from the first of all
	want, now := changetest.State(t, other, storage.Query{})
	if got := changetest.Replay(nil, changes); !maps.Equal(got, want) {
		t.Errorf("from the beginning: %v, want %v", got, want)
	}
	for _, c := range changes {
		if len(c.Key) != 1 {
			t.Errorf("a key of the store's own: %q", c.Key)
		}
	}
	if _, err := b.Changes(t.Context(), storage.ChangeQuery{After: now + 1000}); !errors.Is(err, storage.ErrVersionGone) {
		t.Errorf("of the future: %v", err)
	}
	page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil || page.Next < now || len(page.Changes) > 0 {
		t.Errorf("from now: %+v, %v", page, err)
	}
	if _, err := b.kv.Compact(t.Context(), &pb.CompactionRequest{Revision: int64(now), Physical: true}); err != nil {
		t.Fatal(err)
	}
	third := c.open(t, prefix)
	if _, err := third.Changes(t.Context(), storage.ChangeQuery{After: all[0].version}); !errors.Is(err, storage.ErrVersionGone) {
		t.Errorf("what was compacted: %v", err)
	}
	if changes, _ := changetest.After(t, third, storage.ChangeQuery{After: now}); len(changes) != 0 {
		t.Errorf("after the present: %+v", changes)
	}
}

// A revision that is larger than a message comes whole.
func TestChangesOfALargeRevision(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	prefix := aPrefix()
	patient := func(config map[string]any) { config["timeouts"] = map[string]any{"read": "60s"} } // with other tests beside it
	b := c.open(t, prefix, patient)
	const n = 6000
	value := bytes.Repeat([]byte("x"), 1000)
	for i := 0; i < n; i += 100 {
		var ops []storage.Op
		for j := range 100 {
			ops = append(ops, storage.Put(fmt.Appendf(nil, "%05d", i+j), value))
		}
		changetest.Apply(t, b, ops...)
	}
	page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	version := changetest.Apply(t, b, storage.Op{Kind: storage.OpDeleteRange, Key: []byte("0")})
	for _, b := range []*Backend{b, c.open(t, prefix, patient)} {
		got, err := b.Changes(t.Context(), storage.ChangeQuery{After: page.Next, Limit: 1})
		if err != nil || len(got.Changes) != n || got.Next != version || got.Changes[n-1].Version != version {
			t.Fatalf("%d changes to %d, want %d to %d (%v)", len(got.Changes), got.Next, n, version, err)
		}
	}
}

// What the cluster collects by its lease has expired.
func TestChangesOfLeases(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, aPrefix(), func(m map[string]any) { m["grace"] = "10s" })
	version := changetest.Apply(t, b, storage.Op{Kind: storage.OpPut, Key: []byte("k"), Value: []byte("v"), ExpiresAt: time.Now().Add(time.Second)},
		storage.Op{Kind: storage.OpPut, Key: []byte("deleted"), ExpiresAt: time.Now().Add(time.Hour)})
	deleted := changetest.Apply(t, b, storage.Delete([]byte("deleted")))
	var got []storage.Change
	for q := (storage.ChangeQuery{After: version, Wait: time.Minute}); len(got) < 2; {
		page, err := b.Changes(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got, q.After = append(got, page.Changes...), page.Next
	}
	if got[0].Kind != storage.ChangeDelete || got[0].Version != deleted || got[1].Kind != storage.ChangeExpired || string(got[1].Key) != "k" || got[1].Version <= deleted {
		t.Errorf("%+v", got)
	}
}

// Who waits hears of a change at once, also of another host's, and of the end.
func TestChangesAreWaitedFor(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	prefix := aPrefix()
	b, other := c.open(t, prefix), c.open(t, prefix)
	page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	at, q := page.Next, storage.ChangeQuery{Start: []byte("k"), Wait: time.Minute}
	for i := range 20 {
		type answer struct {
			page storage.ChangePage
			took time.Time
			err  error
		}
		answers := make(chan answer, 1)
		q.After = at
		go func() {
			page, err := b.Changes(t.Context(), q)
			answers <- answer{page, time.Now(), err}
		}()
		time.Sleep(20 * time.Millisecond)
		changetest.Apply(t, other, storage.Put([]byte("a"), nil)) // out of its range
		version := changetest.Apply(t, other, storage.Put([]byte("k"), fmt.Append(nil, i)))
		wrote := time.Now()
		got := <-answers
		if got.err != nil || len(got.page.Changes) != 1 || got.page.Next != version {
			t.Fatalf("%+v, want %d", got, version)
		}
		if late := got.took.Sub(wrote); late > 2*time.Second {
			t.Errorf("it hears of it after %s", late)
		}
		at = version
	}
	if page, err := b.Changes(t.Context(), storage.ChangeQuery{After: at, Wait: 20 * time.Millisecond}); err != nil || len(page.Changes) > 0 || page.Next < at {
		t.Errorf("%+v, %v", page, err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := b.Changes(context.Background(), storage.ChangeQuery{After: at, Wait: time.Hour}); !errors.Is(err, storage.ErrShuttingDown) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// Followers lose and repeat nothing where members are killed and come back.
func TestChangesWhileMembersDie(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	prefix := aPrefix()
	b, writer := c.open(t, prefix), c.open(t, prefix)
	page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	var wrote sync.WaitGroup
	wrote.Go(func() {
		for i := range n {
			changetest.Apply(t, writer, storage.Put(fmt.Append(nil, i%7), fmt.Append(nil, i)))
		}
	})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for i := range 3 {
			time.Sleep(200 * time.Millisecond)
			m := c.members[i]
			m.stop(syscall.SIGKILL)
			time.Sleep(300 * time.Millisecond)
			m.start(t)
			time.Sleep(time.Second)
		}
	}()
	seen := 0
	for q := (storage.ChangeQuery{After: page.Next, Wait: 10 * time.Second}); seen < n; {
		page, err := b.Changes(t.Context(), q)
		if err != nil {
			if code := storage.CodeOf(err); code != storage.Unavailable && code != storage.Timeout {
				t.Fatal(err)
			}
			continue
		}
		for _, c := range page.Changes {
			if string(c.Value) != fmt.Sprint(seen) {
				t.Fatalf("change %d is %q", seen, c.Value)
			}
			seen++
		}
		q.After = page.Next
	}
	wrote.Wait()
	<-killed
}
