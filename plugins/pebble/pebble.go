package pebble

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// What a write set may hold: as the memory backend's.
const (
	mostKey    = 64 << 10
	mostValue  = 8 << 20
	mostOps    = 25_000
	writeBytes = 16 << 20
	mostGets   = 10_000
)

// Backend stores items in a folder. It is safe for concurrent use.
type Backend struct {
	config Config
	dir    string
	log    *slog.Logger
	clock  func() time.Time
	last   atomic.Int64 // the latest now that was seen
	info   storage.Info

	db    *pebble.DB
	lock  *pebble.Lock // of the folder
	fs    vfs.FS
	disk  disk
	wear  wear
	queue queue
	views views
	ids   ids

	changes changeLog
	news    news

	// version is that of the last write, reserved the last that may be given before more
	// are reserved: of who leads the queue.
	version, reserved uint64

	closed  atomic.Bool
	closing chan struct{} // of one: of who closes, and of db then
	end     context.CancelFunc
	living  context.Context // until end
	ended   sync.WaitGroup  // what runs apart from calls
}

var _ storage.Backend = (*Backend)(nil)

// Info returns the Info of a backend with a configuration, without opening anything: see Try of
// sdk/process.
func Info(_ context.Context, env sdk.Env) (storage.Info, error) {
	c := DefaultConfig()
	if err := decode(env, &c); err != nil {
		return storage.Info{}, err
	}
	return c.Info(), nil
}

func decode(env sdk.Env, c *Config) error {
	if err := sdk.DecodeConfig(env.Config, c); err != nil {
		return err
	}
	return c.Validate()
}

// Info returns the Info of a backend with this configuration.
func (c *Config) Info() storage.Info {
	i := storage.Info{Name: "pebble", Version: "1",
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly | storage.CapRangeCheck |
			storage.CapOrdered | storage.CapReverse | storage.CapSnapshotScan | storage.CapSnapshotGet | storage.CapIdempotent,
		Limits: storage.Limits{Key: mostKey, Value: mostValue, Ops: mostOps, WriteBytes: writeBytes, GetKeys: mostGets,
			TTLPrecision: time.Millisecond, IDCount: idsKept},
	}
	if c.Sync == syncAlways {
		i.Caps |= storage.CapDurable
	}
	if c.Changes {
		i.Caps |= storage.CapChanges
		i.Limits.ChangesAge = time.Duration(c.ChangesAge)
	}
	return i
}

// Open opens the store in the folder that env grants, or makes one there. It is an
// [sdk.Opener].
func Open(ctx context.Context, env sdk.Env) (storage.Backend, error) {
	c := DefaultConfig()
	if err := decode(env, &c); err != nil {
		return nil, err
	}
	if env.Dir == "" {
		return nil, storage.Errorf(storage.InvalidArgument, "it keeps its data in a folder, and none was granted: set grants: { dir: … } of the plugin")
	}
	b, err := open(ctx, c, env, vfs.Default)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func open(ctx context.Context, c Config, env sdk.Env, fs vfs.FS) (_ *Backend, err error) {
	env = env.WithDefaults()
	b := &Backend{config: c, dir: env.Dir, log: env.Log, clock: env.Now, info: c.Info(), closing: make(chan struct{}, 1)}
	b.fs = b.disk.watch(fs, env.Dir, int64(c.Reserve))
	if err := usable(env.Dir, fs); err != nil {
		return nil, err
	}
	if err := b.roomToOpen(); err != nil {
		return nil, err
	}
	if b.db, err = b.engine(ctx); err != nil {
		return nil, err
	}
	defer func() { // the engine gives up on some damage by panicking
		if p := recover(); p != nil {
			err = b.refused(fmt.Errorf("%v", p))
		}
	}()
	if err := b.begin(); err != nil {
		return nil, errors.Join(err, b.db.Close(), b.lock.Close())
	}
	living, cancel := context.WithCancel(context.Background())
	b.living, b.end = living, cancel
	b.ended.Go(func() { b.collects(living) })
	if c.Sync == syncInterval {
		b.ended.Go(func() { b.syncs(living) })
	}
	return b, nil
}

// usable says what is wrong with a folder that is to be opened.
func usable(dir string, fs vfs.FS) error {
	if fs != vfs.Default {
		return nil
	}
	is, err := os.Stat(dir)
	switch {
	case err != nil:
		return storage.Errorf(storage.InvalidArgument, "the folder of the store: %w", err)
	case !is.IsDir():
		return storage.Errorf(storage.InvalidArgument, "%s is a file: the store needs a folder", dir)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return storage.Errorf(storage.InvalidArgument, "the folder of the store cannot be written to: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// refused returns why the engine does not open.
func (b *Backend) refused(err error) error {
	return storage.Errorf(storage.InvalidArgument, "the store in %s cannot be opened: %w", b.dir, firstLine{err})
}

// firstLine is an error of the engine without the lines that it adds for itself.
type firstLine struct{ error }

// Error returns the first line.
func (e firstLine) Error() string {
	first, _, _ := strings.Cut(e.error.Error(), "\n")
	return first
}

// Unwrap returns the whole error.
func (e firstLine) Unwrap() error { return e.error }

// options returns those of the engine.
func (b *Backend) options() *pebble.Options {
	listener := b.wear.listener(b.log)
	o := &pebble.Options{
		FS: b.fs, CacheSize: int64(b.config.Cache), MemTableSize: uint64(b.config.WriteBuffer), MemTableStopWritesThreshold: 4,
		FormatMajorVersion: pebble.FormatNewest, CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		EventListener: &listener, Logger: logger{b.log}, L0CompactionThreshold: 2, L0StopWritesThreshold: 1000,
		MaxOpenFiles: 1000, DisableTableStats: false,
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = filter
	}
	return o
}

// begin reads what the store is, or says it of a new one.
func (b *Backend) begin() error {
	have, err := number(b.db, metaFormat)
	switch {
	case err != nil:
		return b.refused(err)
	case have > format:
		return storage.Errorf(storage.InvalidArgument, "the store in %s has the format %d, and this program knows those up to %d: it was written by a newer one", b.dir, have, format)
	}
	id, _, err := fact(b.db, metaIncarnation)
	if err != nil {
		return b.refused(err)
	}
	_, clean, err := fact(b.db, metaClean)
	if err != nil {
		return b.refused(err)
	}
	if b.version, err = number(b.db, metaVersion); err != nil {
		return b.refused(err)
	}
	if b.reserved, err = number(b.db, metaReserved); err != nil {
		return b.refused(err)
	}
	batch := b.db.NewBatch()
	anew := len(id) != len(b.info.Incarnation) || !clean && b.config.Sync != syncAlways
	if anew {
		// It is new, or what was not synced may be gone.
		id = make([]byte, len(b.info.Incarnation))
		_, _ = rand.Read(id) // it does not fail
		b.log.Debug("the store begins a new incarnation", "folder", b.dir)
		b.set(batch, metaIncarnation, id)
	}
	copy(b.info.Incarnation[:], id)
	if !clean {
		b.version = max(b.version, b.reserved)
	}
	// Nor do versions go back where the folder was put back by other means than ours.
	b.version = max(b.version, storage.FirstVersion(b.clock()))
	b.reserved = b.version + reserve
	if err := b.openLog(batch, anew); err != nil {
		return b.refused(err)
	}
	number := uint64(formatPlain)
	if b.config.Changes {
		number = format
	}
	b.set(batch, metaFormat, eight(number))
	b.set(batch, metaVersion, eight(b.version))
	b.set(batch, metaReserved, eight(b.reserved))
	if err := batch.Delete(metaClean, nil); err != nil {
		return b.refused(err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return b.refused(err)
	}
	if err := b.ids.load(b.db); err != nil {
		return b.refused(err)
	}
	b.views.advance(b.db, b.version)
	return nil
}

// reserve is how many versions are taken at a time: so many writes share the one that
// says so.
const reserve = 1 << 20

// set puts a fact into a batch, which does not fail.
func (b *Backend) set(batch *pebble.Batch, key, value []byte) { _ = batch.Set(key, value, nil) }

// now returns the clock in ms. Should it go back, an item that was seen to be expired stays so.
func (b *Backend) now() int64 {
	now := b.clock().UnixMilli()
	for {
		last := b.last.Load()
		if now <= last {
			return last
		}
		if b.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// Info says what the backend can do.
func (b *Backend) Info() storage.Info { return b.info }

// Close lets the calls that are under way finish, and closes the engine. It is idempotent.
// Ended by ctx it leaves the engine open for them, and may be called again.
func (b *Backend) Close(ctx context.Context) error {
	b.closed.Store(true)
	select {
	case b.closing <- struct{}{}:
		defer func() { <-b.closing }()
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	if b.db == nil {
		return nil
	}
	b.end()
	if err := b.queue.shut(ctx); err != nil {
		return err
	}
	b.ended.Wait()
	if err := b.views.shut(ctx); err != nil {
		return err
	}
	var errs []error
	if !b.queue.broken() {
		batch := b.db.NewBatch()
		b.set(batch, metaVersion, eight(b.version))
		b.set(batch, metaClean, nil)
		errs = append(errs, batch.Commit(pebble.Sync))
	}
	errs = append(errs, b.db.Close())
	b.db = nil
	if errors.Join(errs...) == nil && !b.queue.broken() {
		if err := writeSeal(b.fs, b.dir); err != nil { // the store is closed and whole without it
			b.log.Warn("the store was closed without a seal: less damage will be noticed when it opens", "folder", b.dir, "error", err)
		}
	}
	if err := errors.Join(append(errs, b.lock.Close())...); err != nil {
		return storage.Errorf(storage.Internal, "closing the store: %w", err)
	}
	return nil
}

// failed returns an error of the engine, of a read.
func failed(err error) error {
	if e, ok := err.(*storage.Error); ok {
		return e // it is one
	}
	if pebble.IsCorruptionError(err) {
		return storage.Errorf(storage.Internal, "the store is damaged: %w", firstLine{err})
	}
	return storage.Errorf(storage.Internal, "%w", firstLine{err})
}

func errClosed() error { return &storage.Error{Code: storage.ShuttingDown, Layer: "pebble"} }
