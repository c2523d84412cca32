package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/changetest"
	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// following opens a store that keeps its changes.
func following(t *testing.T, s *pgtest.Server, table string, now func() time.Time, more ...string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), sdk.Env{Now: now, Log: silent, Config: configOf(s, table, append([]string{"changes", "true"}, more...)...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b.(*Backend)
}

func someTable() string { return fmt.Sprintf("changes_%d", tableNumber.Add(1)) }

// gone demands that a version cannot be followed.
func gone(t *testing.T, b *Backend, after uint64) {
	t.Helper()
	if page, err := b.Changes(t.Context(), storage.ChangeQuery{After: after}); !errors.Is(err, storage.ErrVersionGone) {
		t.Errorf("after %d: %+v, %v", after, page, err)
	}
}

// The changes after any version that a scan has seen, done to what it saw, are what there is
// now, also for a host that has just been started: with groups of writes, ranges and expiries.
func TestChangesLeadToTheState(t *testing.T) {
	t.Parallel()
	s, table, clock := server(t), someTable(), storagetest.NewClock()
	b := following(t, s, table, clock.Now)
	type seen struct {
		q       storage.Query
		state   map[string]string
		version uint64
	}
	var all []seen
	key := func() []byte { return fmt.Appendf(nil, "%c", 'a'+rand.IntN(6)) }
	for i := range 80 {
		var together sync.WaitGroup
		for range 1 + rand.IntN(6) { // some of them are one group
			var ops []storage.Op
			for range 1 + rand.IntN(3) {
				switch rand.IntN(8) {
				case 0:
					ops = append(ops, storage.Delete(key()))
				case 1:
					ops = append(ops, storage.Op{Kind: storage.OpDeleteRange, Key: key(), End: key()})
				case 2:
					ops = append(ops, storage.Op{Kind: storage.OpPut, Key: key(), Value: []byte("short"), ExpiresAt: clock.Now().Add(time.Duration(rand.IntN(9)-1) * time.Second)})
				default:
					ops = append(ops, storage.Put(key(), fmt.Append(nil, i)))
				}
			}
			together.Go(func() { changetest.Apply(t, b, ops...) })
		}
		together.Wait()
		if i%10 == 5 {
			clock.Advance(time.Second)
		}
		s := seen{q: storage.Query{Start: key()}}
		if i%2 == 0 {
			s.q.End = key()
		}
		s.state, s.version = changetest.State(t, b, s.q)
		all = append(all, s)
	}
	clock.Advance(time.Hour)
	for more := true; more; {
		var err error
		if more, err = b.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []*Backend{b, following(t, s, table, clock.Now)} {
		for _, s := range all {
			changes, _ := changetest.After(t, b, storage.ChangeQuery{Start: s.q.Start, End: s.q.End, After: s.version, Limit: rand.IntN(4)})
			want, _ := changetest.State(t, b, s.q)
			if got := changetest.Replay(s.state, changes); !maps.Equal(got, want) {
				t.Fatalf("after %d: %v, want %v; by %+v", s.version, got, want, changes)
			}
		}
		_, now := changetest.State(t, b, storage.Query{})
		gone(t, b, now+1)
		gone(t, b, 1)
	}
}

// Who waits hears of a change of another host at once, whether the server tells of it or not,
// also when the connection on which it does is cut, and of the end.
func TestChangesAreWaitedFor(t *testing.T) {
	t.Parallel()
	for prepared, late := range map[string]time.Duration{preparedOn: 2 * time.Second, preparedOff: 3 * time.Second} {
		t.Run(prepared, func(t *testing.T) {
			s, table := server(t), someTable()
			b, other := following(t, s, table, nil, "prepared", prepared), following(t, s, table, nil)
			page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
			if err != nil {
				t.Fatal(err)
			}
			at := page.Next
			for i := range 10 {
				answers := make(chan storage.ChangePage, 1)
				q := storage.ChangeQuery{Start: []byte("k"), After: at, Wait: 20 * time.Second}
				go func() {
					page, err := b.Changes(t.Context(), q)
					if err != nil {
						t.Error(err)
					}
					answers <- page
				}()
				time.Sleep(50 * time.Millisecond)
				if i == 5 && prepared == preparedOn {
					if _, err := other.lanes.pools[0].Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen "plinth_%'`); err != nil {
						t.Fatal(err)
					}
				}
				changetest.Apply(t, other, storage.Put([]byte("a"), nil)) // out of its range
				version, wrote := changetest.Apply(t, other, storage.Put([]byte("k"), fmt.Append(nil, i))), time.Now()
				if page := <-answers; len(page.Changes) != 1 || page.Next != version || string(page.Changes[0].Value) != fmt.Sprint(i) {
					t.Fatalf("%+v, want %d", page, version)
				}
				if took := time.Since(wrote); took > late {
					t.Errorf("it hears of it after %s", took)
				}
				at = version
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
		})
	}
}

// Changes are kept for a time, and what is older cannot be followed.
func TestChangesAreBounded(t *testing.T) {
	t.Parallel()
	clock := storagetest.NewClock()
	b := following(t, server(t), someTable(), clock.Now, "changes_age", "1h")
	_, start := changetest.State(t, b, storage.Query{})
	for range 10 {
		changetest.Apply(t, b, storage.Put([]byte("k"), nil))
	}
	_, old := changetest.State(t, b, storage.Query{})
	clock.Advance(2 * time.Hour)
	last := changetest.Apply(t, b, storage.Put([]byte("k"), []byte("new")))
	if _, err := b.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kept int
	if err := b.lanes.pools[0].QueryRow(t.Context(), b.tables.fill(`select count(*) from {changes}`)[0]).Scan(&kept); err != nil || kept != 2 {
		t.Errorf("%d rows are kept, %v", kept, err)
	}
	again := following(t, server(t), b.config.Table, clock.Now)
	gone(t, again, start)
	gone(t, again, old-1)
	if got, next := changetest.After(t, again, storage.ChangeQuery{After: old}); len(got) != 1 || next != last {
		t.Errorf("%+v to %d", got, next)
	}
}

// A store that keeps no changes may be made to, and then no host writes that does not keep
// them: not one of an older program either.
func TestChangesOfAllHosts(t *testing.T) {
	t.Parallel()
	s, table := server(t), someTable()
	old, err := Open(t.Context(), sdk.Env{Log: silent, Config: configOf(s, table)})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close(context.Background())
	if _, err := old.Changes(t.Context(), storage.ChangeQuery{FromNow: true}); !errors.Is(err, storage.ErrUnsupported) || old.Info().Caps.Has(storage.CapChanges) {
		t.Errorf("without them: %v", err)
	}
	before := changetest.Apply(t, old.(*Backend), storage.Put([]byte("k"), []byte("1")))
	env := sdk.Env{Log: silent, Config: configOf(s, table, "changes", "true", "create", "false")}
	if _, err := Open(t.Context(), env); storage.AsError(err).ConfigPath != "changes" {
		t.Errorf("without the table: %v", err)
	}
	if created, err := Init(t.Context(), env); err != nil || !created {
		t.Fatal(created, err)
	}
	if created, err := Init(t.Context(), env); err != nil || created {
		t.Error(created, err)
	}
	for _, ops := range [][]storage.Op{{storage.Put([]byte("k"), []byte("lost"))}, {storage.Put([]byte("k"), nil), storage.Put([]byte("l"), nil)}, {storage.Delete([]byte("k"))}} {
		if _, err := old.Apply(t.Context(), &storage.WriteSet{Ops: ops}); err == nil {
			t.Error("a host that keeps no changes writes")
		}
	}
	plain := following(t, s, table, nil, "changes", "false") // which the tables overrule
	version := changetest.Apply(t, plain, storage.Put([]byte("k"), []byte("2")))
	if got, next := changetest.After(t, plain, storage.ChangeQuery{After: before}); len(got) != 1 || string(got[0].Value) != "2" || next != version {
		t.Errorf("%+v to %d", got, next)
	}
}

// The server's answer to each statement of a store with changes is as it has to be where
// transactions begin by a statement, too.
func TestChangesWhereTransactionsAreIsolatedOtherwise(t *testing.T) {
	t.Parallel()
	s, table := server(t), someTable()
	b := following(t, s, table, nil)
	b.explicit.Store(true)
	_, start := changetest.State(t, b, storage.Query{})
	changetest.Apply(t, b, storage.Put([]byte("k"), nil))
	if got, _ := changetest.After(t, b, storage.ChangeQuery{After: start}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
