package grpcserver

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// greetings wraps a listener, and knows the connections that are still in their handshake.
// When gRPC shuts down, it waits for those, however little time there is, and notifies no
// other connection meanwhile.
type greetings struct {
	net.Listener
	mu    sync.Mutex
	open  map[*greeting]struct{}
	ended bool
}

func newGreetings(l net.Listener) *greetings {
	return &greetings{Listener: l, open: map[*greeting]struct{}{}}
}

// Accept returns a connection whose greeting has begun.
func (g *greetings) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &greeting{Conn: conn, all: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		conn.Close()
	}
	g.open[c] = struct{}{}
	return c, nil
}

// end closes the connections that are at their greeting, now and later.
func (g *greetings) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for c := range g.open {
		c.Conn.Close()
	}
}

// greeting is a connection as gRPC accepts it. Calls do not go by way of it.
type greeting struct {
	net.Conn
	all *greetings
}

// SetDeadline is called by gRPC to bound a handshake: no deadline means that it is over.
func (c *greeting) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.all.mu.Lock()
		delete(c.all.open, c)
		c.all.mu.Unlock()
	}
	return c.Conn.SetDeadline(t)
}

// bare provides credentials that hand the connection itself to the transport, which keeps
// no buffer of a silent one if it knows its type.
type bare struct {
	credentials.TransportCredentials
}

// ServerHandshake greets over the connection itself.
func (b bare) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c, ok := conn.(*greeting); ok {
		conn = c.Conn
	}
	own, info, err := b.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return own, info, err
	}
	return own, newCaller(conn, info), nil
}

// Clone returns a copy that does the same.
func (b bare) Clone() credentials.TransportCredentials {
	return bare{b.TransportCredentials.Clone()}
}
