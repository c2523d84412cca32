package client

import (
	"context"
	"encoding/binary"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/drain"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Client reaches a store of another host. It is safe for concurrent use.
type Client struct {
	config    Config
	settings  Settings
	options   []grpc.DialOption
	transport credentials.TransportCredentials
	metadata  atomic.Pointer[metadata.MD] // of every call; it has the token, and fmt follows no unsafe.Pointer

	calls    *drain.Gate     // of calls, with all their attempts
	life     context.Context // ends with Close
	end      context.CancelFunc
	ended    sync.WaitGroup // goroutines
	info     atomic.Pointer[storage.Info]
	whenLost atomic.Pointer[func()]
	current  atomic.Pointer[link]
	caps     storage.Caps // what was there at Dial

	mu        sync.Mutex
	closed    bool               // after the calls
	links     map[*link]struct{} // also those that are on their way out
	attempt   *attempt           // nil if none is going on
	failures  int                // attempts in a row
	notBefore time.Time          // when the next attempt may be
	lastErr   *storage.Error     // of the latest attempt
	connected int
}

var _ storage.Backend = (*Client)(nil)

// Dial connects to a store and reads its capabilities. A server that is unreachable, or
// has no such store, is an error. The caller closes the client.
func Dial(ctx context.Context, c Config, s Settings) (*Client, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, storage.Errorf(storage.InvalidArgument, "%w", err)
	}
	t, err := c.tls()
	if err != nil {
		return nil, storage.Errorf(storage.InvalidArgument, "%w", err)
	}
	if s.Clock == nil {
		s.Clock = clock.System().Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	transport := insecure.NewCredentials()
	if t != nil {
		transport = credentials.NewTLS(t)
	}
	b := &Client{config: c, settings: s, transport: transport, links: map[*link]struct{}{}, calls: drain.New()}
	md := metadata.MD{}
	for name, value := range map[string]string{abigrpc.MetaStore: c.Store, abigrpc.MetaAuthorization: bearer(c.Token), abigrpc.MetaBudget: budget(c.MessageBytes)} {
		if value != "" {
			md[name] = []string{value}
		}
	}
	b.metadata.Store(&md)
	b.options = append([]grpc.DialOption{
		grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(abigrpc.NewCodec()),
			grpc.MaxCallRecvMsgSize(c.MessageBytes), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.Keepalive, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: c.ConnectTimeout}),
	}, s.telemetry()...)
	b.options = append(b.options, s.Options...)
	b.life, b.end = context.WithCancel(context.Background())
	if err := b.renew(ctx, nil); err != nil {
		b.end()
		b.ended.Wait()
		return nil, err
	}
	b.ended.Go(b.refresh)
	return b, nil
}

func bearer(token *secret.Value) string {
	if token.Len() == 0 {
		return ""
	}
	return "Bearer " + token.Reveal()
}

// budget returns the metadata for answers of at most n bytes, or none if n is the
// default.
func budget(n int) string {
	if n == abi.DefaultMaxFrame {
		return ""
	}
	return strconv.Itoa(n)
}

// Info returns the server's last Info, within the limits of a message.
func (c *Client) Info() storage.Info { return *c.info.Load() }

// Close waits for calls in flight until ctx ends, and closes the connection. It is
// idempotent. It closes nothing on the server.
func (c *Client) Close(ctx context.Context) error {
	c.calls.Shut()
	late := c.calls.Wait(ctx)
	c.mu.Lock()
	c.closed = true
	links := slices.Collect(maps.Keys(c.links))
	c.mu.Unlock()
	c.end()
	for _, l := range links {
		_ = l.conn.Close() // it fails only when it was closed before
	}
	c.ended.Wait()
	return late
}

// refresh asks again and again what the server can do: its backend may have been
// restarted behind the same connection.
func (c *Client) refresh() {
	ticker := time.NewTicker(c.config.Refresh)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-ticker.C:
		}
		l := c.current.Load()
		ctx, cancel := context.WithTimeout(c.life, c.config.ConnectTimeout)
		if l != nil && l.dead.Load() { // it is not left to a call, which a cache may keep away
			_ = c.renew(ctx, l) // the next time, or the next call, tries again
			cancel()
			continue
		}
		if l == nil || !l.hold() {
			cancel()
			continue
		}
		info, err := l.ask(ctx)
		cancel()
		switch {
		case err != nil:
			c.settings.Log.Debug("the server was asked what it can do", "address", c.config.Address, "error", err)
		case c.admits(&info) != nil:
			l.dead.Store(true) // the next call connects anew, and notices
		default:
			c.learned(&info)
		}
		l.release()
	}
}

// WhenLost registers f to be called when the server's backend has lost its state, which
// is detected within [Config].Refresh. f must not call the client.
func (c *Client) WhenLost(f func()) { c.whenLost.Store(&f) }

// learned stores the latest Info of the server.
func (c *Client) learned(info *storage.Info) {
	before := c.info.Swap(info)
	if f := c.whenLost.Load(); f != nil && before != nil && before.Incarnation != info.Incarnation {
		(*f)()
	}
}

// admits refuses a server that can do less than what was checked.
func (c *Client) admits(info *storage.Info) error {
	if info.Caps.Has(c.caps) {
		return nil
	}
	return storage.Errorf(storage.Unavailable, "the server returned with fewer capabilities than before, without %s", c.caps&^info.Caps)
}

// identity returns a new ID of a write set.
func identity() (id [16]byte) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64()|1) // never the zero one
	return id
}
