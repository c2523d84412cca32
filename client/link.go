package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	judge "github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/storage"
)

// link is one connection, from when it was made until it broke: it is never made
// again behind our back, so that all that was heard over it is true of it.
type link struct {
	c      *Client
	conn   *grpc.ClientConn
	dialed atomic.Bool
	dead   atomic.Bool
	failed atomic.Pointer[error]  // why no connection was made, or nil
	server atomic.Pointer[string] // its instance; empty if others may write to the store
	offset atomic.Int64           // the server's clock minus ours, in ms
	refs   atomic.Int64           // calls, and one for being current
}

// spent is the text of the error of a second connection, by which calls are known
// that were certainly not sent, or not looked at by the server.
const spent = "plinth: the connection was lost before the call was sent"

var errSpent = errors.New(spent)

// errUnheard is a connection that was there and of no use.
var errUnheard = errors.New("connection closed before any response: check that the address serves gRPC and that the TLS settings match")

// witness provides credentials that record in the link why a handshake failed, before gRPC
// tries again.
type witness struct {
	credentials.TransportCredentials
	l *link
}

// ClientHandshake greets the server.
func (w witness) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		w.l.failed.Store(&err)
	}
	return conn, info, err
}

// Clone returns a copy for the same link.
func (w witness) Clone() credentials.TransportCredentials {
	return witness{w.TransportCredentials.Clone(), w.l}
}

func (c *Client) newLink() (*link, error) {
	l := &link{c: c}
	l.refs.Store(1)
	network, address := "tcp", c.config.Address
	if path, ok := c.config.unixPath(); ok {
		network, address = "unix", path
	}
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		if l.dialed.Swap(true) {
			l.dead.Store(true)
			if why := l.failed.Load(); why != nil {
				return nil, fmt.Errorf("%w; %w", *why, errSpent)
			}
			if l.server.Load() == nil {
				return nil, fmt.Errorf("%w; %w", errUnheard, errSpent)
			}
			return nil, errSpent
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			l.failed.Store(&err)
		}
		return conn, err
	}
	target := c.config.Address
	if network == "unix" {
		target = "localhost"
	}
	conn, err := grpc.NewClient("passthrough:///"+target, append([]grpc.DialOption{grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(witness{c.transport, l})}, c.options...)...)
	l.conn = conn
	return l, err
}

// hold keeps the link from being closed, or returns false if it is too late.
func (l *link) hold() bool {
	for {
		n := l.refs.Load()
		if n == 0 {
			return false
		}
		if l.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (l *link) release() {
	if l.refs.Add(-1) > 0 {
		return
	}
	_ = l.conn.Close() // it fails only when it was closed before
	l.c.mu.Lock()
	delete(l.c.links, l)
	l.c.mu.Unlock()
}

// ask hears what the server can do, and what time it has.
func (l *link) ask(ctx context.Context) (storage.Info, error) {
	var answer abigrpc.Info
	var header metadata.MD
	before := l.c.settings.Clock()
	err := l.conn.Invoke(metadata.NewOutgoingContext(ctx, *l.c.metadata.Load()), abigrpc.MethodInfo, &abigrpc.Empty{}, &answer, grpc.Header(&header))
	after := l.c.settings.Clock()
	if err != nil {
		return storage.Info{}, err
	}
	server := ""
	if v := header.Get(abigrpc.MetaInstance); len(v) == 1 {
		server = v[0]
	}
	l.server.Store(&server)
	l.note(header, before, after)
	if err := judge.Info(&answer.Info); err != nil {
		return storage.Info{}, status.Error(codes.Internal, err.Error())
	}
	const frameReserve = 16 << 10
	most := max(l.c.config.MessageBytes-frameReserve, frameReserve)
	answer.Limits = answer.Limits.Tighten(storage.Limits{Value: most, GetKeys: abi.MaxElements, Ops: abi.MaxElements})
	return answer.Info, nil
}

// note notes the server's clock, if md has it. It was read between before and after.
func (l *link) note(md metadata.MD, before, after time.Time) bool {
	now := md.Get(abigrpc.MetaNow)
	if len(now) != 1 {
		return false
	}
	ms, err := strconv.ParseInt(now[0], 10, 64)
	if err != nil || ms < 1 {
		return false
	}
	l.clocks(ms, before.UnixMilli(), after.UnixMilli())
	return true
}

// drift limits the change of the measured difference between the clocks, in ms, that counts
// as no change, beyond what the round trip explains.
const drift = 5

// clocks records the difference between the server's clock and ours. A difference that the
// round trip explains counts as none. A recorded difference stays until a clock was set, so
// that times that were sent come back unchanged.
func (l *link) clocks(server, before, after int64) {
	way := max(after-before, 0)/2 + 1
	now := server - before - (after-before)/2
	if before == after {
		way = 0
	}
	have := l.offset.Load()
	switch {
	case abs(now-have) <= way+drift && have != 0:
	case abs(now) <= way:
		l.offset.Store(0)
	default:
		l.offset.Store(now)
	}
}

func abs(n int64) int64 { return max(n, -n) }

// ahead returns how far the server's clock is ahead of ours.
func (l *link) ahead() time.Duration { return time.Duration(l.offset.Load()) * time.Millisecond }

// acquire returns a link that works, as far as is known, held for the caller.
func (c *Client) acquire(ctx context.Context) (*link, error) {
	for {
		l := c.current.Load()
		if l != nil && !l.dead.Load() && l.hold() {
			return l, nil
		}
		if err := c.renew(ctx, l); err != nil {
			return nil, err
		}
	}
}

// attempt is one try to connect, that all who need it wait for.
type attempt struct {
	done chan struct{}
	err  *storage.Error
}

// renew waits until there is another link than old, or an attempt has failed.
func (c *Client) renew(ctx context.Context, old *link) error {
	c.mu.Lock()
	switch now := time.Now(); {
	case c.closed:
		c.mu.Unlock()
		return c.error("", &storage.Error{Code: storage.ShuttingDown})
	case c.current.Load() != old:
		c.mu.Unlock()
		return nil
	case c.attempt == nil && now.Before(c.notBefore):
		e := *c.lastErr
		e.RetryAfter = c.notBefore.Sub(now)
		c.mu.Unlock()
		return &e
	case c.attempt == nil:
		a := &attempt{done: make(chan struct{})}
		c.attempt = a
		c.ended.Go(func() { c.connect(a, old) })
	}
	a := c.attempt
	c.mu.Unlock()
	select {
	case <-a.done:
		if a.err != nil {
			return a.err
		}
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

// connect makes a link, and has it take the place of old if it is good enough.
func (c *Client) connect(a *attempt, old *link) {
	ctx, cancel := context.WithTimeout(c.life, c.config.ConnectTimeout)
	defer cancel()
	l, err := c.newLink()
	var info storage.Info
	if err == nil {
		if old != nil {
			l.offset.Store(old.offset.Load())
		}
		if info, err = l.ask(ctx); err == nil && old != nil {
			err = c.admits(&info)
		}
		if err != nil {
			_ = l.conn.Close()
		}
	}
	c.mu.Lock()
	c.attempt = nil
	if err == nil && c.closed {
		_ = l.conn.Close()
		err = &storage.Error{Code: storage.ShuttingDown}
	}
	if err != nil {
		a.err = c.unreachable(ctx, err)
		c.failures++
		c.notBefore, c.lastErr = time.Now().Add(pause(c.failures)), a.err
		c.mu.Unlock()
		close(a.done)
		return
	}
	c.failures, c.notBefore = 0, time.Time{}
	if old == nil {
		c.caps = info.Caps
	}
	c.learned(&info)
	c.links[l] = struct{}{}
	c.current.Store(l)
	c.connected++
	c.mu.Unlock()
	if old != nil {
		c.settings.Log.Info("connected again", "address", c.config.Address, "remote_store", c.config.Store)
		old.release()
	}
	close(a.done)
}

// The wait after failed attempts to connect doubles from one to the other.
const (
	firstPause = 10 * time.Millisecond
	mostPause  = time.Second
)

// pause returns how long to wait after so many failed attempts.
func pause(failures int) time.Duration {
	return backoff.Doubling{First: firstPause, Most: mostPause}.Half(failures - 1)
}
