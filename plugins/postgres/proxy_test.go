package postgres

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/internal/pgtest"
)

// proxy passes connections on to a server, until it is told what to do to one.
type proxy struct {
	l      net.Listener
	server string
	fault  atomic.Pointer[fault]
	open   sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
}

// fault is what becomes of the next message of a connection, which ends with it.
type fault struct {
	after  int           // so many messages of that side pass before
	reply  bool          // of the server's; else the client's
	late   chan struct{} // of a client's: the server has it once this is closed; nil: never
	arrive func()        // closes late
	done   chan struct{} // closed when the server has read all of it and hung up; with late alone
}

func newProxy(t *testing.T, s *pgtest.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, server: fmt.Sprintf("127.0.0.1:%d", s.Port()), conns: map[net.Conn]bool{}}
	p.open.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cutAll()
		p.open.Wait()
	})
	return p
}

// dsn is that of the server by way of the proxy.
func (p *proxy) dsn(s *pgtest.Server) string {
	u, err := url.Parse(s.DSN("postgres"))
	if err != nil {
		panic(err)
	}
	u.Host = p.l.Addr().String()
	return u.String()
}

// cutAll ends all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.open.Go(func() { p.pass(client, server, false) })
		p.open.Go(func() { p.pass(server, client, true) })
	}
}

// pass copies from one side to the other, until either ends or a fault does it.
func (p *proxy) pass(from, to net.Conn, reply bool) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		delete(p.conns, to)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if f := p.fault.Load(); f != nil && f.reply == reply && f.after > 0 {
			f.after-- // of one connection, and one call
		} else if f != nil && f.reply == reply && p.fault.CompareAndSwap(f, nil) {
			if f.late != nil {
				_ = from.Close()
				<-f.late
				_, _ = to.Write(buf[:n])
				_ = to.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, to)
				close(f.done)
			}
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
