package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// What has expired is taken out in small steps, some time later; what replaced it stays.
func TestCollected(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	is, err := Open(t.Context(), sdk.Env{Config: configOf(s, table), Log: silent, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer is.Close(context.Background())
	b := is.(*Backend)
	b.end() // what collects by the second
	b.ended.Wait()
	soon := now.Add(time.Minute)
	w := &storage.WriteSet{Ops: []storage.Op{storage.PutUntil([]byte("later"), nil, soon.Add(time.Hour)), storage.Put([]byte("again"), nil)}}
	for i := range 2 * collectAtOne {
		w.Ops = append(w.Ops, storage.PutUntil(fmt.Appendf(nil, "k%d", i), nil, soon))
	}
	if _, err := b.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = soon.Add(skew - time.Millisecond)
	mu.Unlock()
	if more, err := b.collect(t.Context()); more || err != nil {
		t.Errorf("too early: %v, %v", more, err)
	}
	if page, err := b.Scan(t.Context(), storage.Query{Limit: 1}); err != nil || len(page.Items) != 1 || string(page.Items[0].Key) != "again" {
		t.Errorf("%v, %v", page, err)
	}
	mu.Lock()
	now = soon.Add(skew + time.Millisecond) // deadlines are rounded up
	mu.Unlock()
	steps := 0
	for more := true; more; steps++ {
		if more, err = b.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var left int
	conn, err := b.acquire(t.Context(), &b.lanes.read)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := conn.QueryRow(t.Context(), "select count(*) from "+table).Scan(&left); err != nil || left != 2 || steps < 2 {
		t.Errorf("%d are left after %d steps, %v", left, steps, err)
	}
}

// IDs are forgotten once there are more than enough later ones, and not within a minute.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table)
	b.end()
	b.ended.Wait()
	first, err := b.Apply(t.Context(), put("k", "v", 1))
	if err != nil {
		t.Fatal(err)
	}
	exec(t, s, fmt.Sprintf("insert into %s_ids select sha256(n::text::bytea), '', n + %d from generate_series(1, %d) n", table, first, 2*idsKept))
	collect := func() {
		for more := true; more; {
			if more, err = b.collect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() (n int) {
		conn, err := b.acquire(t.Context(), &b.lanes.read)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if err := conn.QueryRow(t.Context(), "select count(*) from "+table+"_ids").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	collect()
	if n := left(); n != 2*idsKept+1 {
		t.Errorf("%d are left at once", n)
	}
	b.marks.recent = []mark{{time.Now().Add(-idsFor), int64(first) + 10}}
	collect()
	if n := left(); n != 2*idsKept+1-10 {
		t.Errorf("%d are left of those that are young", n)
	}
	b.marks.old = 1 << 62
	collect()
	if n := left(); n != idsKept+1 {
		t.Errorf("%d are left, and %d are to stay", n, idsKept)
	}
}

// A page of a scan that goes on is kept for a time, and not too many of them; then it is a
// conflict. So it is where the server ended its transaction.
func TestKeptViews(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table, "snapshots", "3")
	var versions []uint64
	for i := range 5 {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "a%d", i), nil), storage.Put(fmt.Appendf(nil, "b%d", i), nil)}}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds the first's
			page, err := b.Scan(t.Context(), storage.Query{Limit: 1})
			if err != nil || page.Next == nil {
				t.Fatal(page, err)
			}
			if len(versions) == i {
				versions = append(versions, page.Version)
			}
		}
	}
	if _, err := b.Apply(t.Context(), put("z", "", 0)); err != nil {
		t.Fatal(err)
	}
	there := func(i int) error {
		page, err := b.Scan(t.Context(), storage.Query{AtVersion: versions[i]})
		if err == nil && len(page.Items) != 2*(i+1) {
			t.Errorf("version %d shows %d items", i, len(page.Items))
		}
		return err
	}
	for i, want := range []error{storage.ErrConflict, storage.ErrConflict, nil, nil, nil} {
		if err := there(i); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	exec(t, s, "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and query like '%"+table+"%'")
	for i := range versions {
		if err := there(i); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%d, ended by the server: %v", i, err)
		}
	}
	if b.lanes.snap.busy() != 0 {
		t.Errorf("%d connections are held", b.lanes.snap.busy())
	}
}
