package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/dgraph-io/badger/v4"
	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/storage"
)

// The work of the durable stores: 1,000,000 items with keys of 16 bytes and values of 100
// that are text enough to be compressed a little, read in an order that is not theirs.
const durableItems = 1_000_000

func durableKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("item-key"), n%durableItems*0x9E3779B97F4A7C15)
}

func durableValue(n uint64) []byte {
	v := make([]byte, 100)
	for i := 0; i < 50; i += 8 {
		binary.BigEndian.PutUint64(v[i:], n*0x9E3779B97F4A7C15+uint64(i))
	}
	return v
}

// durable holds what a durable store can do. What it cannot is nil.
type durable struct {
	load func(from, to uint64) error // a batch that need not be synced
	set  func(n uint64) error        // synced
	get  func(n uint64) error
	many func(n uint64) error // 256
	scan func(n uint64) error // 100
	// rests reports whether what was loaded has been merged into place.
	rests func() bool
	io.Closer
}

type closer func() error

func (c closer) Close() error { return c() }

// durableRows returns the rows of durable stores, which are opened and filled when one of
// them is measured.
func durableRows() (rows []*row, closeAll func() error) {
	dir, err := os.MkdirTemp("", "plinth-bench-")
	if err != nil {
		fatal(err)
	}
	stores := map[string]*lazily{}
	for name, open := range map[string]func(string) (*durable, error){
		"engine": openEngine, "pebble, linked in": openOurs("none"), "pebble, a process": openOurs("process"),
		"bbolt": openBolt, "badger": openBadger, "SQLite": openSQLite,
	} {
		stores[name] = &lazily{open: func() (*durable, error) { return open(filepath.Join(dir, name)) }, fill: name == "engine" || name[0] == 'p'}
	}
	add := func(work, subject string, goal float64, per int, run func(b *testing.B, d *durable)) {
		rows = append(rows, &row{work: work, subject: subject, floor: "engine", goal: goal, per: per, run: func(b *testing.B) { run(b, stores[subject].get()) }})
	}
	sets := func(writers int) func(*testing.B, *durable) {
		return func(b *testing.B, d *durable) { together(b, writers, d.set) }
	}
	for _, s := range []struct {
		name                       string
		set1, set64, get, many, sc float64
	}{{"engine", 0, 0, 0, 0, 0}, {"pebble, linked in", 0, 1.1, 1.3, 0, 0}, {"pebble, a process", 0, 1.3, 0, 0, 0}} {
		add("durable: set, 1 writer, synced", s.name, s.set1, 1, sets(1))
		add("durable: set, 64 writers, synced", s.name, s.set64, 1, sets(64))
		add("durable: get", s.name, s.get, 1, func(b *testing.B, d *durable) { each(b, d.get) })
		at := new(int)
		add("durable: get, cold", s.name, 0, 1, func(b *testing.B, d *durable) { readCold(b, filepath.Join(dir, s.name), d, at) })
		add("durable: get_many, 256", s.name, s.many, 256, func(b *testing.B, d *durable) { each(b, d.many) })
		add("durable: scan, 100", s.name, s.sc, 100, func(b *testing.B, d *durable) { each(b, d.scan) })
	}
	for _, peer := range []string{"badger", "bbolt", "SQLite"} {
		add("durable: set, 64 writers, synced", peer, 0, 1, sets(64))
	}
	return ordered(rows), func() error {
		var errs []error
		for _, s := range stores {
			errs = append(errs, s.close())
		}
		return errors.Join(append(errs, os.RemoveAll(dir))...)
	}
}

// ordered has the rows of each work together, in the order of their first.
func ordered(rows []*row) (out []*row) {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.work] {
			continue
		}
		seen[r.work] = true
		for _, other := range rows {
			if other.work == r.work {
				out = append(out, other)
			}
		}
	}
	return out
}

// lazily opens a store when it is asked for.
type lazily struct {
	open func() (*durable, error)
	fill bool
	once sync.Once
	d    *durable
}

func (l *lazily) get() *durable {
	l.once.Do(func() {
		d, err := l.open()
		if err != nil {
			fatal(err)
		}
		for n := uint64(0); l.fill && n < durableItems; n += 1000 {
			if err := d.load(n, n+1000); err != nil {
				fatal(err)
			}
		}
		for end := time.Now().Add(time.Minute); l.fill && !d.rests() && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
		}
		l.d = d
	})
	return l.d
}

func (l *lazily) close() error {
	if l.d == nil {
		return nil
	}
	return l.d.Close()
}

func each(b *testing.B, work func(uint64) error) {
	n := uint64(1)
	for b.Loop() {
		if err := work(n); err != nil {
			b.Fatal(err)
		}
		n += 7919
	}
}

// written counts what was set, so that no two sets are of one key.
var written atomic.Uint64

// together has so many writers do b.N sets.
func together(b *testing.B, writers int, set func(uint64) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, writers)
	b.ResetTimer()
	for range writers {
		go func() {
			for left.Add(-1) >= 0 {
				if err := set(written.Add(7919)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

// openEngine opens the engine alone, with the options that matter as the backend has them.
func openEngine(dir string) (*durable, error) {
	o := &engine.Options{CacheSize: 64 << 20, MemTableSize: 32 << 20, MemTableStopWritesThreshold: 4, FormatMajorVersion: engine.FormatNewest,
		L0CompactionThreshold: 2, L0StopWritesThreshold: 1000, CompactionConcurrencyRange: func() (int, int) { return 1, 2 }}
	o.ApplyCompressionSettings(func() engine.DBCompressionSettings { return engine.DBCompressionFastest })
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := engine.Open(dir, o)
	if err != nil {
		return nil, err
	}
	get := func(n uint64) error {
		v, c, err := db.Get(durableKey(n))
		if err != nil {
			return err
		}
		_ = append([]byte(nil), v...)
		return c.Close()
	}
	return &durable{
		load: func(from, to uint64) error {
			batch := db.NewBatch()
			for n := from; n < to; n++ {
				_ = batch.Set(durableKey(n), durableValue(n), nil)
			}
			return batch.Commit(engine.NoSync)
		},
		set: func(n uint64) error {
			batch := db.NewBatch()
			_ = batch.Set(durableKey(n), durableValue(n), nil)
			return batch.Commit(engine.Sync)
		},
		get: get,
		many: func(n uint64) error {
			for i := range uint64(256) {
				if err := get(n + 31*i); err != nil {
					return err
				}
			}
			return nil
		},
		scan: func(n uint64) error {
			iter, err := db.NewIter(&engine.IterOptions{LowerBound: durableKey(n)})
			if err != nil {
				return err
			}
			i := 0
			for ok := iter.First(); ok && i < 100; ok = iter.Next() {
				_ = append([]byte(nil), iter.Key()...)
				_ = append([]byte(nil), iter.Value()...)
				i++
			}
			return iter.Close()
		},
		rests:  func() bool { m := db.Metrics(); return m.Compact.EstimatedDebt == 0 && m.Compact.NumInProgress == 0 },
		Closer: db,
	}, nil
}

// durableBackend is the plugin, in this process and in one of its own.
var durableBackend = plinth.WithBackend("pebble", pebble.Open, plinth.TriedBy(pebble.Info))

// openOurs opens a store of a host over it, without a pipeline.
func openOurs(isolation string) func(dir string) (*durable, error) {
	return func(dir string) (*durable, error) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		ctx := context.Background()
		h, err := plinth.Open(ctx, "", durableBackend, plinth.WithWorker(self), plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent(
			fmt.Appendf(nil, "plugins: { pebble: { isolation: %s, grants: { dir: %q } } }\nstores: { a: { backend: { plugin: pebble } } }", isolation, dir)))
		if err != nil {
			return nil, err
		}
		s, err := h.Store("a")
		if err != nil {
			return nil, err
		}
		return &durable{
			load: func(from, to uint64) error {
				w := &storage.WriteSet{}
				for n := from; n < to; n++ {
					w.Ops = append(w.Ops, storage.Put(durableKey(n), durableValue(n)))
				}
				_, err := s.Apply(ctx, w)
				return err
			},
			set: func(n uint64) error { return s.Set(ctx, durableKey(n), durableValue(n)) },
			get: func(n uint64) error { _, err := s.Get(ctx, durableKey(n)); return err },
			many: func(n uint64) error {
				keys := make([][]byte, 256)
				for i := range keys {
					keys[i] = durableKey(n + 31*uint64(i))
				}
				items, err := s.GetMany(ctx, keys)
				if err == nil && len(items) != len(keys) {
					err = fmt.Errorf("%d of %d", len(items), len(keys))
				}
				return err
			},
			scan: func(n uint64) error {
				i := 0
				for _, err := range s.Range(ctx, durableKey(n), nil, storage.RangeOptions{Limit: 100}) {
					if err != nil {
						return err
					}
					i++
				}
				return nil
			},
			rests: func() bool {
				health, err := s.Health(ctx, storage.Readiness)
				return err != nil || health.Details["compaction_debt_bytes"] == "0"
			},
			Closer: closer(func() error { return h.Close(ctx) }),
		}, nil
	}
}

func openBolt(dir string) (*durable, error) {
	db, err := bbolt.Open(dir, 0o600, nil)
	if err != nil {
		return nil, err
	}
	set := func(n uint64) error {
		return db.Batch(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return b.Put(durableKey(n), durableValue(n))
		})
	}
	return &durable{set: set, Closer: db}, nil
}

func openBadger(dir string) (*durable, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithLogger(nil))
	if err != nil {
		return nil, err
	}
	return &durable{set: func(n uint64) error {
		return db.Update(func(tx *badger.Txn) error { return tx.Set(durableKey(n), durableValue(n)) })
	}, Closer: db}, nil
}

func openSQLite(dir string) (*durable, error) {
	db, err := sql.Open("sqlite", "file:"+dir+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer at a time is its own rule
	if _, err := db.Exec("create table kv (k blob primary key, v blob) without rowid"); err != nil {
		return nil, err
	}
	return &durable{set: func(n uint64) error {
		_, err := db.Exec("insert or replace into kv values (?, ?)", durableKey(n), durableValue(n))
		return err
	}, Closer: db}, nil
}
