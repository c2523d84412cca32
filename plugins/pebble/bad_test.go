package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

var silent = slog.New(slog.DiscardHandler)

func env(dir, config string) sdk.Env {
	return sdk.Env{Dir: dir, Config: []byte(config), Log: silent}
}

// A folder that cannot be a store's is refused at once, with what is wrong with it, and
// nothing is changed in it.
func TestBadFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	b, err := Open(t.Context(), env(newer, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.(*Backend).db.Set(metaFormat, eight(format+1), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, want string }{
		"none":     {"", "set grants: { dir: … }"},
		"missing":  {filepath.Join(t.TempDir(), "no"), "no such file"},
		"a file":   {file, "is a file: the store needs a folder"},
		"of newer": {newer, "it was written by a newer one"},
	} {
		b, err := Open(t.Context(), env(c.dir, ""))
		if err == nil {
			t.Errorf("%s: it opens", name)
			_ = b.Close(t.Context())
		} else if !errors.Is(err, storage.ErrInvalidArgument) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Getuid() != 0 { // root may write anywhere
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), env(dir, "")); err == nil || !strings.Contains(err.Error(), "cannot be written to") {
			t.Errorf("read-only: %v", err)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	for config, want := range map[string]string{
		`{"sync": "sometimes"}`:      "sync is \"sometimes\", it must be always, interval or never",
		`{"sync_interval": "0s"}`:    "sync_interval is 0",
		`{"sync_interval": "1 day"}`: "is not a duration",
		`{"cache": "1kB"}`:           "cache is 1000, it must be between",
		`{"snapshots": 0}`:           "snapshots is 0",
		`{"dir": "/data"}`:           `unknown field "dir"`,
	} {
		if _, err := Info(t.Context(), env("", config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
	i, err := Info(t.Context(), env("", `{"sync": "never"}`))
	if err != nil || i.Caps.Has(storage.CapDurable) {
		t.Errorf("%v, %v", i.Caps, err)
	}
}

// weighty returns the value of an item, with some weight, so that files are written and merged.
func weighty(i int) []byte { return fmt.Appendf(nil, "%d%*s", i, 100+i%900, "") }

// The work of a write set is bounded, however many ranges it names, and however much they
// hold: others wait for it.
func TestManyRanges(t *testing.T) {
	b, err := open(t.Context(), DefaultConfig(), env(t.TempDir(), ""), vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	w := &storage.WriteSet{}
	for i := range 10_000 {
		w.Ops = append(w.Ops, storage.Put(numbered(i), nil))
	}
	version, err := b.Apply(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("z"), nil)}}); err != nil { // the last of all
		t.Fatal(err)
	}
	checks := &storage.WriteSet{}
	for range 20_000 {
		checks.Checks = append(checks.Checks, storage.NoneNewer(nil, []byte("z"), version))
	}
	if _, err := b.Apply(t.Context(), checks); !errors.Is(err, storage.ErrRangeLimit) {
		t.Errorf("%v", err)
	}
	checks.Checks = checks.Checks[:100]
	if _, err := b.Apply(t.Context(), checks); err != nil {
		t.Errorf("what is within the bound: %v", err)
	}
}

// A write set that meets damage is refused as a whole, and the others of its group are not.
func TestDamageUnderAWrite(t *testing.T) {
	b, err := open(t.Context(), DefaultConfig(), env(t.TempDir(), ""), vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	if err := b.db.Set(dataKey(nil, []byte("bad")), []byte("short"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	b.views.advance(b.db, b.version)
	for _, ops := range [][]storage.Op{
		{storage.Delete([]byte("bad"))},
		{storage.Put([]byte("a"), nil), storage.Delete([]byte("bad"))},
		{storage.Put([]byte("a"), nil), storage.DeleteRange([]byte("b"), []byte("c"))},
	} {
		if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: ops}); !errors.Is(err, storage.ErrInternal) {
			t.Errorf("%v", err)
		}
	}
	if _, err := b.Get(t.Context(), []byte("a")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a half of a write set: %v", err)
	}
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("a"), nil)}}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func numbered(i int) []byte { return []byte{'k', byte(i >> 8), byte(i)} }

// A disk without room takes no more of what adds, and says so; what only deletes goes on for
// longer, and when there is room again so does everything. What was there stays readable.
func TestFullDisk(t *testing.T) {
	b, err := open(t.Context(), DefaultConfig(), sdk.Env{Dir: t.TempDir(), Log: silent}, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	put := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}}
	if _, err := b.Apply(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	full := func(free int64) {
		b.disk.looked.Store(time.Since(started).Milliseconds() + 3_600_000) // as just seen, for an hour
		b.disk.free.Store(free)
	}
	full(b.disk.reserve - 1)
	_, err = b.Apply(t.Context(), put)
	if e := storage.AsError(err); !errors.Is(err, storage.ErrNoSpace) || e.Limit.Actual != b.disk.reserve-1 || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("%v", err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Degraded || !strings.Contains(h.Reason, "disk is full") {
		t.Errorf("%+v, %v", h, err)
	}
	if it, err := b.Get(t.Context(), []byte("k")); err != nil || string(it.Value) != "v" {
		t.Errorf("%v, %v", it, err)
	}
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}}); err != nil {
		t.Errorf("a delete: %v", err)
	}
	full(b.disk.reserve/4 - 1)
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}}); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("a delete without any room: %v", err)
	}
	full(b.disk.reserve)
	if _, err := b.Apply(t.Context(), put); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// What has expired is taken out of the engine; what replaced it in the meantime stays.
func TestCollected(t *testing.T) {
	now := time.Now()
	b, err := open(t.Context(), DefaultConfig(), sdk.Env{Dir: t.TempDir(), Log: silent, Now: func() time.Time { return now }}, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	soon := now.Add(time.Minute)
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("again"), nil), storage.PutUntil([]byte("later"), nil, soon)}}
	for i := range 2 * collectAtOne {
		w.Ops = append(w.Ops, storage.PutUntil(numbered(i), nil, soon))
	}
	w.Ops = append(w.Ops, storage.PutUntil([]byte("again"), nil, soon), storage.PutUntil([]byte("later"), nil, soon.Add(time.Hour)), storage.Put([]byte("again"), nil))
	if _, err := b.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	b.end() // who collects by the second
	b.ended.Wait()
	now = soon.Add(time.Millisecond)
	rounds := 0
	for more := true; more; rounds++ {
		if more, err = b.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left := map[byte]int{}
	iter, err := b.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer iter.Close()
	for ok := iter.First(); ok; ok = iter.Next() {
		left[iter.Key()[0]]++
	}
	if left[spaceData] != 2 || left[spaceDeadline] != 1 || rounds < 3 {
		t.Errorf("left: %d items and %d deadlines after %d rounds", left[spaceData], left[spaceDeadline], rounds)
	}
}

// A page of a scan that goes on is kept for a time, and not too many of them; then it is a
// conflict.
func TestKeptViews(t *testing.T) {
	now := time.Now()
	c := DefaultConfig()
	c.Snapshots = 3
	b, err := open(t.Context(), c, sdk.Env{Dir: t.TempDir(), Log: silent, Now: func() time.Time { return now }}, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	var versions []uint64
	for i := range 5 {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put(numbered(i), nil), storage.Put(numbered(i+100), nil)}}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		page, err := b.Scan(t.Context(), storage.Query{Limit: 1})
		if err != nil || page.Next == nil {
			t.Fatal(page, err)
		}
		versions = append(versions, page.Version)
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
	now = now.Add(time.Duration(c.SnapshotLife))
	for i := range 4 {
		if err := there(i); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%d, after its life: %v", i, err)
		}
	}
}
