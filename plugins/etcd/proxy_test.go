//go:build unix

package etcd

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy is a way to a server that can be cut.
type proxy struct {
	to    string
	addr  string
	peers bool // the first request of each connection says who it is from

	deaf atomic.Bool // what the server says is swallowed, and the connection ended

	mu    sync.Mutex
	cut   func(from string) bool
	conns map[net.Conn]string // who each is from
}

func newProxy(t testing.TB, to string, peers bool) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: to, addr: l.Addr().String(), peers: peers, conns: map[net.Conn]string{}}
	t.Cleanup(func() {
		_ = l.Close() // which ends what follows
		p.sever(func(string) bool { return true })
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	from := ""
	if p.peers {
		from = sender(in)
	}
	if !p.enter(c, from) {
		return
	}
	defer p.leave(c)
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		_, _ = io.Copy(s, in) // until either is closed
		_ = s.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if p.deaf.Load() { // by its end the server has done what it was asked
			_ = s.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = io.Copy(io.Discard, s)
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// sender is the member that a connection between members is from.
func sender(in *bufio.Reader) string {
	for n := 512; n <= 64<<10; n *= 2 {
		_, _ = in.Peek(1) // waits for the first bytes
		head, _ := in.Peek(min(in.Buffered(), n))
		r, err := http.ReadRequest(bufio.NewReader(&once{head}))
		if err == nil {
			return r.Header.Get("X-Server-From")
		}
		if _, err := in.Peek(len(head) + 1); err != nil {
			return ""
		}
	}
	return ""
}

// once is what was read so far.
type once struct{ b []byte }

func (o *once) Read(into []byte) (int, error) {
	n := copy(into, o.b)
	if o.b = o.b[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (p *proxy) enter(c net.Conn, from string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != nil && p.cut(from) {
		return false
	}
	p.conns[c] = from
	return true
}

func (p *proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// sever ends the connections that cut names, and lets none of them in. If cut is nil,
// all are let in.
func (p *proxy) sever(cut func(from string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c, from := range p.conns {
		if cut != nil && cut(from) {
			_ = c.Close()
		}
	}
}
