package etcd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/plinthkv/plinth/internal/changetail"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// layer names the origin of this package's errors.
const layer = "etcd"

// What is kept of a cluster's transaction for the store's own use: the ID, and the level
// of the ops that are judged by themselves.
const ownOps = 2

const (
	mostKey  = 16 << 10 // bytes
	mostGets = 10_000
	// opExtra is what an op takes of a request in addition to its key and value, and prefix; and
	// ownBytes what the rest takes.
	opExtra  = 64
	ownBytes = 4 << 10
)

// Backend stores items below a prefix of a cluster. It is safe for concurrent use.
type Backend struct {
	config Config
	log    *slog.Logger
	clock  func() time.Time
	last   atomic.Int64 // the latest now that was seen
	info   storage.Info
	space  space

	client      *clientv3.Client
	kv          pb.KVClient
	maintenance pb.MaintenanceClient
	cluster     uint64 // its ID
	identity    string // what the marker says
	born        int64  // the revision at which it was put
	leases      leases
	tail        *changetail.Tail
	heard       atomic.Pointer[watch] // what feeds the tail; nil if nothing does at the moment
	weight      atomic.Int64          // bytes of an item, about: see steps
	answer      int                   // the most bytes of a page

	calls   sync.RWMutex // held to read by calls
	closed  atomic.Bool
	living  context.Context // until it is closed
	end     context.CancelFunc
	closing sync.Once
	ended   sync.WaitGroup // what runs apart from calls
}

var _ storage.Backend = (*Backend)(nil)

// Format prints a name for the backend, whatever the verb: the client of etcd has the password
// as text.
func (*Backend) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "etcd.Backend") }

// Info returns the Info of a backend with a configuration, without calling the cluster: see Try
// of sdk/process.
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

// Info returns the Info of a backend with this configuration.
func (c *Config) Info() storage.Info {
	ops := c.MaxOps - ownOps
	write := int(c.MaxRequest) - ownBytes - ops*(opExtra+len(c.Prefix))
	return storage.Info{Name: "etcd", Version: "1",
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly | storage.CapRangeCheck |
			storage.CapOrdered | storage.CapReverse | storage.CapSnapshotScan | storage.CapSnapshotGet | storage.CapDurable | storage.CapIdempotent | storage.CapChanges,
		Limits: storage.Limits{Key: mostKey, Value: write - mostKey, Ops: ops, WriteBytes: write, GetKeys: mostGets,
			TTLPrecision: time.Millisecond, IDWindow: time.Duration(c.IDWindow)},
	}
}

// Open reaches the cluster and opens the store below the prefix, or makes one there. It is
// an [sdk.Opener].
func Open(ctx context.Context, env sdk.Env) (storage.Backend, error) {
	c, err := decode(env)
	if err != nil {
		return nil, err
	}
	env = env.WithDefaults()
	b := &Backend{config: c, log: env.Log, clock: env.Now, info: c.Info(), space: newSpace(c.Prefix), answer: maxBytes}
	if env.MaxMessage > 0 {
		b.answer = min(b.answer, env.MaxMessage/2)
	}
	b.weight.Store(firstWeight)
	b.living, b.end = context.WithCancel(context.Background())
	b.tail = b.newTail()
	if err := b.dial(ctx); err != nil {
		b.end()
		return nil, err
	}
	b.leases.init(b)
	if err := b.claim(ctx); err != nil {
		b.end()
		_ = b.client.Close() // nothing was done with it
		return nil, named("open", err)
	}
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
func (b *Backend) Info() storage.Info { return b.info }

// enter begins a call, which is to leave.
func (b *Backend) enter(ctx context.Context) error {
	if b.closed.Load() {
		return errClosed()
	}
	if err := ctx.Err(); err != nil {
		return storage.ContextError(ctx)
	}
	if !b.calls.TryRLock() { // who closes waits
		return errClosed()
	}
	return nil
}

func (b *Backend) leave() { b.calls.RUnlock() }

// Close lets the calls that are under way finish, for as long as ctx lasts, and ends the
// connections. It is idempotent.
func (b *Backend) Close(ctx context.Context) error {
	b.closed.Store(true)
	b.end()
	idle := make(chan struct{})
	go func() {
		b.calls.Lock() // waits for the calls
		defer b.calls.Unlock()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = named("close", storage.ContextError(ctx))
	}
	b.closing.Do(func() { _ = b.client.Close() }) // it says that it was closed
	<-idle
	b.ended.Wait()
	return err
}

func errClosed() error { return &storage.Error{Code: storage.ShuttingDown, Layer: layer} }
