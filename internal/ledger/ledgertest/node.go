package ledgertest

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// Node runs one server of a cluster.
type Node struct {
	c       *Cluster
	id      uint64
	address string // once it was started, where it listens

	mu     sync.Mutex
	server *grpc.Server
	conns  map[net.Conn]struct{}
	secret [16]byte              // of page tokens
	hangs  chan struct{}         // closed when it goes on, or nil if it does not hang
	holds  chan struct{}         // likewise, of streams
	old    map[verify.IDs]*vault // the state that only it serves; nil for that of the cluster
	alone  bool                  // it acknowledges writes to old
	faults faults
	advert string                // what hints call it; by default its endpoint
	health ledgerpb.HealthStatus // 0 means healthy
}

// Endpoint returns the address of the node, as in a configuration.
func (n *Node) Endpoint() string {
	if strings.HasPrefix(n.address, "/") {
		return n.address
	}
	return "http://" + n.address
}

// start listens, and forgets what a process keeps to itself.
func (n *Node) start() error {
	network := "tcp"
	if strings.HasPrefix(n.address, "/") {
		network = "unix"
	}
	l, err := listen(network, n.address)
	if err != nil {
		return err
	}
	n.c.mu.Lock()
	for k := range n.c.known {
		if k.node == n.id {
			delete(n.c.known, k)
		}
	}
	n.c.mu.Unlock()
	n.mu.Lock()
	n.address = l.Addr().String()
	n.conns = map[net.Conn]struct{}{}
	rand.Read(n.secret[:])
	s := grpc.NewServer(grpc.UnknownServiceHandler(n.serve), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true))
	n.server = s
	n.mu.Unlock()
	go s.Serve(&listener{l, n}) // it ends with Stop
	return nil
}

// listen listens; where another process has taken the port of a node that starts
// again, as the near end of a connection may, it waits for that to go.
func listen(network, address string) (net.Listener, error) {
	for try := 0; ; try++ {
		l, err := net.Listen(network, address)
		if err == nil || try == 100 || !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Stop ends the node: connections break, and it listens no longer.
func (n *Node) Stop() error {
	n.Resume()
	n.mu.Lock()
	s := n.server
	n.server = nil
	n.mu.Unlock()
	if s != nil {
		s.Stop()
	}
	return nil
}

// Forget makes a new key for page tokens, as a start does: those that it gave out are
// good for nothing any more.
func (n *Node) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	rand.Read(n.secret[:])
}

// Restart starts a node that was stopped, where it was.
func (n *Node) Restart() error {
	n.mu.Lock()
	running := n.server != nil
	n.mu.Unlock()
	if running {
		return errors.New("the node is running")
	}
	n.c.mu.Lock()
	n.c.forgot = n.c.quirks.LosesOrganization && len(n.c.nodes) == 1
	n.c.mu.Unlock()
	return n.start()
}

// Cut breaks all connections to the node; it accepts new ones.
func (n *Node) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close() // the other side sees it
	}
}

// Connections returns the number of connections to the node.
func (n *Node) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Hang has requests wait for Resume, or for their own end.
func (n *Node) Hang() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hangs == nil {
		n.hangs = make(chan struct{})
	}
}

// Resume ends Hang.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hangs != nil {
		close(n.hangs)
		n.hangs = nil
	}
}

// Advertise has hints call the node something else, such as an address that no node
// reaches.
func (n *Node) Advertise(endpoint string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.advert = endpoint
}

// SetHealth sets the status that the node reports.
func (n *Node) SetHealth(s ledgerpb.HealthStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.health = s
}

func (n *Node) advertised() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.advert != "" {
		return n.advert
	}
	return n.Endpoint()
}

func (n *Node) name() string { return strconv.FormatUint(n.id, 10) }

// hang waits while the node hangs.
func (n *Node) hang(ctx context.Context) error {
	n.mu.Lock()
	hangs := n.hangs
	n.mu.Unlock()
	if hangs == nil {
		return nil
	}
	select {
	case <-hangs:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listener knows the connections of a node.
type listener struct {
	net.Listener
	n *Node
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	own := &conn{c, l.n}
	l.n.conns[own] = struct{}{}
	return own, nil
}

type conn struct {
	net.Conn
	n *Node
}

func (c *conn) Close() error {
	go c.n.forget(c) // Cut holds the lock
	return c.Conn.Close()
}

func (n *Node) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}
