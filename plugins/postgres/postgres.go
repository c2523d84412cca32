package postgres

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/internal/changetail"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// What a write set may hold: as the memory backend's, but for keys. An entry of an index has at
// most a third of a page, 2,704 bytes of 8 KiB with what is stored along with the key.
const (
	mostKey    = 2560
	mostValue  = 8 << 20
	mostOps    = 25_000
	writeBytes = 16 << 20
	mostGets   = 10_000
)

// idsKept is how many of the latest IDs are remembered at least, and idsFor how long those of
// a busy store are, which has more of them by then.
const (
	idsKept = 16384
	idsFor  = time.Minute
)

// Backend stores items in a table. It is safe for concurrent use.
type Backend struct {
	config Config
	sql    *statements
	tables tables
	log    *slog.Logger
	clock  func() time.Time
	last   atomic.Int64 // the latest now that was seen
	info   atomic.Pointer[storage.Info]

	lanes lanes
	gate  gate
	queue queue
	views views
	wear  wear
	marks marks // of who collects

	logs  bool             // the store keeps its changes
	tail  *changetail.Tail // of its followers
	pokes chan struct{}    // has who feeds the tail look at the table

	// seen is the greatest version that a write was given here, and not less than the clock
	// says: those that follow are greater, also where the server forgot some.
	seen atomic.Uint64
	// explicit has transactions begin by a statement that says how they are isolated, because
	// the server's default is another.
	explicit atomic.Bool

	closing chan struct{} // of one: of who closes
	end     context.CancelFunc
	living  context.Context // until it closes: of who follows
	leave   context.CancelFunc
	ended   sync.WaitGroup // what runs apart from calls
}

var _ storage.Backend = (*Backend)(nil)

// Info returns what a backend with a configuration is, whatever its server says. It asks none: see
// Try of sdk/process.
func Info(_ context.Context, env sdk.Env) (storage.Info, error) {
	c, err := decode(env)
	if err != nil {
		return storage.Info{}, err
	}
	return c.Info(), nil
}

func decode(env sdk.Env) (Config, error) {
	c := DefaultConfig()
	if err := sdk.DecodeConfig(env.Config, &c); err != nil {
		return c, err
	}
	return c, c.Validate()
}

// Info returns what a backend with this configuration can do.
func (c *Config) Info() storage.Info {
	i := storage.Info{Name: layer, Version: "1",
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly | storage.CapRangeCheck |
			storage.CapOrdered | storage.CapReverse | storage.CapSnapshotScan | storage.CapSnapshotGet | storage.CapDurable | storage.CapIdempotent,
		Limits: storage.Limits{Key: mostKey, Value: mostValue, Ops: mostOps, WriteBytes: writeBytes, GetKeys: mostGets,
			TTLPrecision: time.Millisecond, IDCount: idsKept},
	}
	if c.Changes {
		i.Caps |= storage.CapChanges
		i.Limits.ChangesAge = time.Duration(c.ChangesAge)
	}
	if c.Replica != "" {
		i.Version = "1, reads from a replica: not linearizable"
	}
	return i
}

// Open opens the store in the table that the configuration names. It is an [sdk.Opener].
func Open(ctx context.Context, env sdk.Env) (storage.Backend, error) {
	c, err := decode(env)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, c, env)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func open(ctx context.Context, c Config, env sdk.Env) (_ *Backend, err error) {
	env = env.WithDefaults()
	t := tablesOf(c.Table)
	b := &Backend{config: c, tables: t, log: env.Log, clock: env.Now, closing: make(chan struct{}, 1), pokes: make(chan struct{}, 1)}
	b.living, b.leave = context.WithCancel(context.Background())
	b.tail = b.newTail()
	info := c.Info()
	if b.lanes, err = c.connections(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.leave()
			b.lanes.close()
		}
	}()
	is, err := b.inspect(ctx)
	if err != nil {
		return nil, err
	}
	b.logs, b.sql = is.changes, t.statements(is.changes)
	if b.logs { // whatever the configuration says: all hosts of the store write them
		info.Caps |= storage.CapChanges
		info.Limits.ChangesAge = time.Duration(c.ChangesAge)
	}
	info.Incarnation = is.incarnation
	if !is.durable {
		b.log.Warn("the server acknowledges writes before they are on its disk, so that the store is not durable", "synchronous_commit", is.commits, "fsync", is.fsync)
		info.Caps &^= storage.CapDurable
		info.Incarnation = env.Incarnation // anything may have been lost since
	}
	b.info.Store(&info)
	b.seen.Store(max(is.version, storage.FirstVersion(b.clock())))
	ctx, cancel := context.WithCancel(context.Background())
	b.end = cancel
	b.ended.Go(func() { b.collects(ctx) })
	return b, nil
}

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
func (b *Backend) Info() storage.Info { return *b.info.Load() }

// Close lets the calls that are under way finish, and closes the connections. It is
// idempotent. Ended by ctx it leaves them open, and may be called again.
func (b *Backend) Close(ctx context.Context) error {
	select {
	case b.closing <- struct{}{}:
		defer func() { <-b.closing }()
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	b.leave()
	if err := b.gate.close(ctx); err != nil {
		return err
	}
	b.end()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		b.ended.Wait()
		b.views.closeAll()
		b.lanes.close()
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}
