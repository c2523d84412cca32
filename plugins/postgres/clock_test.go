package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// jumping is a store of a host whose system clock is set, and that may start anew in between.
type jumping struct {
	*testing.T
	*Backend
	server  *pgtest.Server
	table   string
	changes bool
	system  *storagetest.Clock
	host    *clock.Clock
	version uint64
}

func (j *jumping) start() {
	j.Helper()
	j.host = clock.New(j.system.Now) // of a process
	b, err := Open(j.Context(), sdk.Env{Now: j.host.Now, Log: silent, Config: configOf(j.server, j.table, "changes", fmt.Sprint(j.changes), "connections", "4")})
	if err != nil {
		j.Fatal(err)
	}
	j.Backend = b.(*Backend)
	j.Cleanup(func() { b.Close(context.Background()) })
	j.end() // what collects by the second: the tests say when
	j.ended.Wait()
}

func (j *jumping) restart() {
	j.Helper()
	if err := j.Close(context.Background()); err != nil {
		j.Fatal(err)
	}
	j.start()
}

func (j *jumping) apply(ops ...storage.Op) {
	j.Helper()
	version, err := j.Apply(context.Background(), &storage.WriteSet{Ops: ops})
	if err != nil {
		j.Fatal(err)
	}
	if version < j.version {
		j.Errorf("version %d follows %d", version, j.version)
	}
	j.version = version
}

func (j *jumping) set(key string, ttl time.Duration) {
	j.Helper()
	j.apply(storage.PutUntil([]byte(key), []byte("v"), j.host.Now().Add(ttl)))
	j.there(key, true)
}

// there checks that each way to look agrees.
func (j *jumping) there(key string, want bool) {
	j.Helper()
	_, err := j.Get(context.Background(), []byte(key))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		j.Fatal(err)
	}
	page, scanned := j.Scan(context.Background(), storage.Query{Start: []byte(key), End: storage.After([]byte(key))})
	_, checked := j.Apply(context.Background(), &storage.WriteSet{Checks: []storage.Check{{Kind: storage.CheckPresent, Key: []byte(key)}}})
	if got := []bool{err == nil, scanned == nil && len(page.Items) == 1, checked == nil}; got[0] != want || got[1] != want || got[2] != want {
		j.Errorf("%s is there to a get, a scan and a check: %v, want %v", key, got, want)
	}
}

func (j *jumping) collectAll() {
	j.Helper()
	for more := true; more; {
		var err error
		if more, err = j.collect(context.Background()); err != nil {
			j.Fatal(err)
		}
	}
}

// The system's clock is wrong by an hour for a while and then right again. Items live as long as
// they were given, by the clock of the process that judges, and rows stay for the skew of clocks;
// what was removed stays removed; versions do not go back; and no row is left in the end.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		for _, restarts := range []string{"no restart", "during", "after", "both"} {
			for _, collected := range []bool{false, true} {
				for _, changes := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/collected=%v/changes=%v", by, restarts, collected, changes), func(t *testing.T) {
						j := &jumping{T: t, server: server(t), table: freshTable(), changes: changes, system: storagetest.NewClock()}
						j.jump(by, restarts, collected)
					})
				}
			}
		}
	}
}

func (j *jumping) jump(by time.Duration, restarts string, collected bool) {
	during, after := restarts == "during" || restarts == "both", restarts == "after" || restarts == "both"
	j.start()
	for _, key := range []string{"before", "deleted", "lapsed", "range/a", "range/b", "set/a"} {
		j.set(key, 10*time.Minute)
	}
	j.set("edge", time.Hour-skew/2) // ahead it has just expired
	j.set("long", 3*time.Hour)
	j.apply(storage.Put([]byte("kept"), nil))
	first := j.version

	j.system.Advance(by)
	if during {
		j.restart()
	}
	ahead := by > 0
	j.there("before", !ahead)
	j.there("edge", !ahead)
	j.there("long", true)
	j.apply(storage.Delete([]byte("deleted")))
	j.apply(storage.PutUntil([]byte("lapsed"), nil, j.host.Now()))
	j.apply(storage.DeleteRange([]byte("range/"), []byte("range0")))
	j.apply(storage.Delete([]byte("set/a")), storage.Put([]byte("set/b"), nil)) // with a change
	j.set("during", 10*time.Minute)
	if collected {
		j.collectAll()
	}

	j.system.Advance(-by)
	if after {
		j.restart()
	}
	for _, key := range []string{"deleted", "lapsed", "range/a", "range/b", "set/a"} {
		j.there(key, false)
	}
	j.there("long", true)
	j.there("kept", true)
	switch {
	case !ahead: // a process that started an hour back follows the clock at once
		j.there("before", true)
		j.there("edge", true)
		j.there("during", !during)
	case after: // its own clock was never ahead: only what was collected is gone
		j.there("before", !collected)
		j.there("edge", true)
		j.there("during", true)
	default: // what was seen to be expired stays so
		j.there("before", false)
		j.there("edge", false)
		j.there("during", true)
	}
	j.set("after", 10*time.Minute)
	j.system.Advance(9 * time.Minute)
	j.there("after", true)
	j.system.Advance(3 * time.Minute) // a clock that is ahead runs more slowly
	j.there("after", false)
	j.collectAll()
	j.there("long", true)

	j.system.Advance(6 * time.Hour)
	j.collectAll()
	j.there("long", false)
	conn, err := j.acquire(context.Background(), &j.lanes.read)
	if err != nil {
		j.Fatal(err)
	}
	var left int
	err = conn.QueryRow(context.Background(), "select count(*) from "+j.table).Scan(&left)
	conn.Release()
	if err != nil || left != 2 {
		j.Errorf("%d rows are left, %v", left, err)
	}
	if !j.changes {
		return
	}
	state := map[string]bool{"before": true, "deleted": true, "lapsed": true, "range/a": true, "range/b": true, "set/a": true, "edge": true, "long": true, "kept": true}
	for after := first; ; {
		page, err := j.Changes(context.Background(), storage.ChangeQuery{After: after})
		if err != nil {
			j.Fatal(err)
		}
		for _, c := range page.Changes {
			switch c.Kind {
			case storage.ChangePut:
				state[string(c.Key)] = true
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
		if page.Next == after {
			break
		}
		after = page.Next
	}
	if fmt.Sprint(state) != "map[kept:true set/b:true]" {
		j.Errorf("the changes lead to %v", state)
	}
}

// A host whose clock is ahead removes an item that has expired by its own clock alone: it is gone
// from the others, too.
func TestClockOfAnotherHostAhead(t *testing.T) {
	t.Parallel()
	for _, changes := range []bool{false, true} {
		system := storagetest.NewClock()
		right := &jumping{T: t, server: server(t), table: freshTable(), changes: changes, system: system}
		right.start()
		for _, key := range []string{"a", "b/1", "b/2", "c"} {
			right.set(key, 10*time.Minute)
		}
		fast := &jumping{T: t, server: right.server, table: right.table, changes: changes, system: storagetest.NewClock()}
		fast.system.Advance(time.Hour)
		fast.start()
		fast.apply(storage.Delete([]byte("a")))
		fast.apply(storage.DeleteRange([]byte("b"), []byte("c")))
		right.there("a", false)
		right.there("b/1", false)
		right.there("b/2", false)
		right.there("c", true)
	}
}
