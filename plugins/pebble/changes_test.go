package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// following is a store with a log, on a file system in memory.
type following struct {
	t     rapid.TB
	fs    *vfs.MemFS
	clock *storagetest.Clock
	c     Config
	*Backend
}

func followed(t rapid.TB, edit func(*Config)) *following {
	c := DefaultConfig()
	c.Changes, c.Cache, c.WriteBuffer, c.Reserve = true, 1<<20, 1<<20, 0
	if edit != nil {
		edit(&c)
	}
	f := &following{t: t, fs: vfs.NewCrashableMem(), clock: storagetest.NewClock(), c: c}
	f.open(f.fs)
	return f
}

func (f *following) open(fs *vfs.MemFS) {
	f.t.Helper()
	b, err := open(ctx, f.c, sdk.Env{Now: f.clock.Now, Dir: "store", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, fs)
	if err != nil {
		f.t.Fatal(err)
	}
	f.fs, f.Backend = fs, b
	f.t.(interface{ Cleanup(func()) }).Cleanup(func() { b.Close(ctx) })
}

func (f *following) reopen() {
	f.t.Helper()
	if err := f.Close(ctx); err != nil {
		f.t.Fatal(err)
	}
	f.open(f.fs)
}

func (f *following) apply(ops ...storage.Op) uint64 {
	f.t.Helper()
	version, err := f.Apply(ctx, &storage.WriteSet{Ops: ops})
	if err != nil {
		f.t.Fatal(err)
	}
	return version
}

// after are all changes after a version, page by page, and the version that they lead to.
func (f *following) after(q storage.ChangeQuery) (all []storage.Change, next uint64) {
	f.t.Helper()
	for {
		page, err := f.Changes(ctx, q)
		if err != nil {
			f.t.Fatalf("after %d: %v", q.After, err)
		}
		for i, c := range page.Changes {
			if c.Version <= q.After || c.Version > page.Next || i > 0 && c.Version < page.Changes[i-1].Version {
				f.t.Fatalf("a change of version %d on a page after %d to %d", c.Version, q.After, page.Next)
			}
		}
		if all = append(all, page.Changes...); page.Next == q.After {
			return all, page.Next
		}
		q.After = page.Next
	}
}

func (f *following) gone(after uint64) {
	f.t.Helper()
	if page, err := f.Changes(ctx, storage.ChangeQuery{After: after}); !errors.Is(err, storage.ErrVersionGone) {
		f.t.Errorf("after %d: %+v, %v", after, page, err)
	}
}

// state is what the store has in a range.
func (f *following) state(q storage.Query) (map[string]string, uint64) {
	f.t.Helper()
	page, err := f.Scan(ctx, q)
	if err != nil || page.Next != nil {
		f.t.Fatal(err)
	}
	all := map[string]string{}
	for _, it := range page.Items {
		all[string(it.Key)] = string(it.Value)
	}
	return all, page.Version
}

// replay does changes to a state.
func replay(state map[string]string, changes []storage.Change) {
	for _, c := range changes {
		switch c.Kind {
		case storage.ChangePut:
			state[string(c.Key)] = string(c.Value)
		case storage.ChangeDelete, storage.ChangeExpired:
			delete(state, string(c.Key))
		case storage.ChangeDeleteRange:
			maps.DeleteFunc(state, func(k, _ string) bool { return storage.InRange([]byte(k), c.Key, c.End) })
		}
	}
}

// The changes after any version that a scan has seen, done to what it saw, are what there is
// now: of any range, in pages of any size, over restarts and crashes.
func TestChangesLeadToTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := followed(t, nil)
		type seen struct {
			start, end []byte
			state      map[string]string
			version    uint64
		}
		var all []seen
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				f.clock.Advance(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
			case 1:
				if _, err := f.collect(ctx); err != nil {
					t.Fatal(err)
				}
			case 2:
				f.reopen()
			case 3:
				old := f.Backend
				f.open(f.fs.CrashClone(vfs.CrashCloneCfg{}))
				go old.Close(ctx)
			default:
				f.apply(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.Op { return drawOp(t, f.clock.Now()) }), 1, 5).Draw(t, "ops")...)
			}
			s := seen{start: drawKey(t, "start")}
			if rapid.Bool().Draw(t, "bounded") {
				s.end = drawKey(t, "end")
			}
			s.state, s.version = f.state(storage.Query{Start: s.start, End: s.end})
			all = append(all, s)
		}
		for more := true; more; {
			var err error
			if more, err = f.collect(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range all {
			changes, next := f.after(storage.ChangeQuery{Start: s.start, End: s.end, After: s.version, Limit: rapid.IntRange(0, 3).Draw(t, "limit")})
			replay(s.state, changes)
			want, version := f.state(storage.Query{Start: s.start, End: s.end})
			if !maps.Equal(s.state, want) || next != version {
				t.Fatalf("after %d: %v at %d, want %v at %d; by %+v", s.version, s.state, next, want, version, changes)
			}
		}
	})
}

func drawKey(t *rapid.T, name string) []byte {
	return []byte{'a' + byte(rapid.IntRange(0, 5).Draw(t, name))}
}

func drawOp(t *rapid.T, now time.Time) storage.Op {
	o := storage.Op{Kind: storage.OpKind(rapid.IntRange(1, 3).Draw(t, "kind")), Key: drawKey(t, "key")}
	switch o.Kind {
	case storage.OpPut:
		o.Value = []byte(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "value")))
		if rapid.Bool().Draw(t, "expires") {
			o.ExpiresAt = now.Add(time.Duration(rapid.IntRange(-1, 4).Draw(t, "s")) * time.Second)
		}
	case storage.OpDeleteRange:
		o.End = drawKey(t, "to")
	}
	return o
}

// What each kind of change is, in order, and of write sets that are larger than a page.
func TestChangesOfEachKind(t *testing.T) {
	f := followed(t, nil)
	_, start := f.state(storage.Query{})
	at := f.clock.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	first := f.apply(storage.Put([]byte("a"), nil), storage.Op{Kind: storage.OpPut, Key: []byte("b"), Value: []byte("v"), ExpiresAt: at})
	second := f.apply(storage.Delete([]byte("a")), storage.Delete([]byte("none")))
	third := f.apply(storage.Op{Kind: storage.OpDeleteRange, Key: []byte("x"), End: []byte("y")}, storage.Put([]byte("x"), []byte("1")))
	fourth := f.apply(storage.Op{Kind: storage.OpDeleteRange, Key: []byte("c")})
	f.clock.Advance(time.Hour)
	if _, err := f.collect(ctx); err != nil {
		t.Fatal(err)
	}
	fifth := fourth + 1
	want := []storage.Change{
		{Version: first, Kind: storage.ChangePut, Key: []byte("a"), Value: []byte{}},
		{Version: first, Kind: storage.ChangePut, Key: []byte("b"), Value: []byte("v"), ExpiresAt: at},
		{Version: second, Kind: storage.ChangeDelete, Key: []byte("a")},
		{Version: third, Kind: storage.ChangePut, Key: []byte("x"), Value: []byte("1")},
		{Version: fourth, Kind: storage.ChangeDeleteRange, Key: []byte("c")},
		{Version: fifth, Kind: storage.ChangeExpired, Key: []byte("b")},
	}
	same := func(a, b storage.Change) bool {
		return a.Version == b.Version && a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil) &&
			bytes.Equal(a.End, b.End) && (a.End == nil) == (b.End == nil) && a.ExpiresAt.Equal(b.ExpiresAt)
	}
	for _, limit := range []int{0, 1} {
		got, next := f.after(storage.ChangeQuery{After: start, Limit: limit})
		if !slices.EqualFunc(got, want, same) || next != fifth {
			t.Errorf("by %d: %+v to %d, want %+v", limit, got, next, want)
		}
	}
	page, err := f.Changes(ctx, storage.ChangeQuery{After: start, Limit: 1})
	if err != nil || len(page.Changes) != 2 || page.Next != first {
		t.Errorf("a write set is torn: %+v, %v", page, err)
	}
	if page, err := f.Changes(ctx, storage.ChangeQuery{FromNow: true}); err != nil || page.Next != fifth || len(page.Changes) > 0 {
		t.Errorf("from now: %+v, %v", page, err)
	}
	f.gone(0)
	f.gone(fifth + 1)
}

// The log is bounded in size and in age, whether there are writes or not, and followers that
// are further behind are told.
func TestChangesAreBounded(t *testing.T) {
	f := followed(t, func(c *Config) { c.ChangesSize, c.ChangesAge = 1<<20, sdk.Duration(time.Hour) })
	_, start := f.state(storage.Query{})
	value := make([]byte, 10_000)
	var last uint64
	for i := range 1000 {
		last = f.apply(storage.Put(binary.BigEndian.AppendUint32(nil, uint32(i%10)), value))
	}
	f.gone(start)
	kept := func() (n int) {
		for _, space := range []byte{spaceChange, spacePart, spaceGap} {
			m, err := f.count(space, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		return n
	}
	if n := kept(); n < 80 || n > 130 {
		t.Errorf("%d records are kept", n)
	}
	if h, err := f.Health(ctx, storage.Readiness); err != nil || h.Details["changes_bytes"] == "" || len(h.Details["changes_bytes"]) > 7 {
		t.Errorf("%v, %v", h.Details, err)
	}
	got, _ := f.after(storage.ChangeQuery{After: last - 50})
	if len(got) != 50 {
		t.Errorf("%d changes, want 50", len(got))
	}
	f.reopen()
	if got, _ := f.after(storage.ChangeQuery{After: last - 50}); len(got) != 50 {
		t.Errorf("%d changes after a restart, want 50", len(got))
	}
	f.clock.Advance(2 * time.Hour)
	for end := time.Now().Add(20 * time.Second); kept() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d records are kept indefinitely", kept())
		}
	}
	f.gone(last - 1)
	_, now := f.state(storage.Query{})
	f.apply(storage.Put([]byte("k"), nil))
	if got, _ := f.after(storage.ChangeQuery{After: now}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// A follower of a state that was replaced by an older copy of itself is told, whatever
// version it is at; and so is one of a log that was not kept for a while.
func TestChangesOfAnotherHistory(t *testing.T) {
	f := followed(t, nil)
	before := f.apply(storage.Put([]byte("k"), []byte("1")))
	older := f.fs.CrashClone(vfs.CrashCloneCfg{})
	var lost uint64
	for range 5 {
		lost = f.apply(storage.Put([]byte("k"), []byte("2")))
	}
	f.clock.Advance(time.Second)
	old := f.Backend
	f.open(older)
	go old.Close(ctx)
	for v := before + 1; v <= lost; v++ {
		f.gone(v)
	}
	_, now := f.state(storage.Query{})
	f.apply(storage.Put([]byte("k"), []byte("3")))
	for _, after := range []uint64{before, now} {
		if got, _ := f.after(storage.ChangeQuery{After: after}); len(got) != 1 || string(got[0].Value) != "3" {
			t.Errorf("after %d: %+v", after, got)
		}
	}
	f.c.Changes = false
	f.reopen()
	if _, err := f.Changes(ctx, storage.ChangeQuery{}); !errors.Is(err, storage.ErrUnsupported) || f.Info().Caps.Has(storage.CapChanges) {
		t.Errorf("without a log: %v", err)
	}
	during := f.apply(storage.Put([]byte("k"), []byte("4")))
	f.c.Changes = true
	f.reopen()
	f.gone(during - 1)
	f.gone(now)
}

// A store that lost what was not synced begins its log anew.
func TestChangesAfterALoss(t *testing.T) {
	f := followed(t, func(c *Config) { c.Sync = syncNever })
	version := f.apply(storage.Put([]byte("k"), []byte("1")))
	old := f.Backend
	f.open(f.fs.CrashClone(vfs.CrashCloneCfg{}))
	go old.Close(ctx)
	f.gone(version)
}

// Who waits hears of a change in its range at once, of none outside, and of the end.
func TestChangesAreWaitedFor(t *testing.T) {
	f := followed(t, nil)
	_, now := f.state(storage.Query{})
	answers := make(chan storage.ChangePage, 1)
	ask := func(q storage.ChangeQuery) {
		page, err := f.Changes(ctx, q)
		if err != nil {
			t.Error(err)
		}
		answers <- page
	}
	go ask(storage.ChangeQuery{Start: []byte("b"), After: now, Wait: 20 * time.Second})
	time.Sleep(20 * time.Millisecond)
	f.apply(storage.Put([]byte("a"), nil))
	select {
	case page := <-answers:
		t.Fatalf("it hears of what is outside of its range: %+v", page)
	case <-time.After(50 * time.Millisecond):
	}
	version, wrote := f.apply(storage.Put([]byte("b"), nil)), time.Now()
	if page := <-answers; len(page.Changes) != 1 || page.Next != version || time.Since(wrote) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(wrote), page)
	}
	ask(storage.ChangeQuery{After: version, Wait: 10 * time.Millisecond})
	if page := <-answers; len(page.Changes) != 0 || page.Next != version {
		t.Errorf("%+v", page)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := f.Changes(short, storage.ChangeQuery{After: version, Wait: time.Minute}); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("%v", err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := f.Changes(ctx, storage.ChangeQuery{After: version, Wait: time.Hour}); !errors.Is(err, storage.ErrShuttingDown) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}
