package client_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// rough is what a proxy does to connections. Each chance is of one chunk that
// passes, or of one connection.
type rough struct {
	cut    float64       // of a chunk: the connection ends for the caller
	late   float64       // of a connection that is cut: what the caller had sent is delivered all the same, later
	lag    time.Duration // how much later, at most
	delay  float64       // of a chunk: it waits
	wait   time.Duration // how long, at most
	detour float64       // of a connection: it is made later than those after it
	calm   int           // a connection through which more bytes went in the last moment is not cut: large messages are not repeated
}

// proxy stands between a client and a server and is rough with connections, by
// a seed, once it has begun.
type proxy struct {
	l      net.Listener
	target string
	rough  rough
	on     atomic.Bool
	cuts   atomic.Int64
	lates  atomic.Int64

	mu    sync.Mutex
	rnd   *rand.Rand
	conns map[net.Conn]bool
	ended sync.WaitGroup
	quit  chan struct{}
}

func newProxy(target string, seed uint64, r rough) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, target: target, rough: r, rnd: rand.New(rand.NewPCG(seed, 1)), conns: map[net.Conn]bool{}, quit: make(chan struct{})}
	p.ended.Go(p.accept)
	return p, nil
}

// begin has it be rough from now on.
func (p *proxy) begin() { p.on.Store(true) }

func (p *proxy) address() string { return p.l.Addr().String() }

func (p *proxy) close() {
	close(p.quit)
	p.l.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.ended.Wait()
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		seed := p.seed()
		p.ended.Go(func() { p.serve(c, rand.New(rand.NewPCG(seed, 2))) })
	}
}

func (p *proxy) seed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rnd.Uint64()
}

// track reports whether c may be used: it is closed with the proxy.
func (p *proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.quit:
		c.Close()
		return false
	default:
		p.conns[c] = true
		return true
	}
}

func (p *proxy) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.quit:
	}
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

// serve carries one connection until it is cut or ends.
func (p *proxy) serve(caller net.Conn, r *rand.Rand) {
	if !p.track(caller) {
		return
	}
	defer caller.Close()
	if p.on.Load() && r.Float64() < p.rough.detour {
		p.pause(upTo(r, p.rough.wait))
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.track(server) {
		return
	}
	pair := &pair{p: p, caller: caller, server: server}
	up, down := rand.New(rand.NewPCG(r.Uint64(), 3)), rand.New(rand.NewPCG(r.Uint64(), 4))
	var both sync.WaitGroup
	both.Go(func() { pair.carry(caller, server, up, true) })
	both.Go(func() { pair.carry(server, caller, down, false) })
	both.Wait()
	server.Close()
}

// pair is a connection on both of its sides.
type pair struct {
	p              *proxy
	caller, server net.Conn
	recent         atomic.Int64 // bytes, not long ago
	last           atomic.Int64 // when, in ms
}

func (c *pair) busy(n int) bool {
	now := time.Now().UnixMilli()
	if now-c.last.Swap(now) > 500 {
		c.recent.Store(0)
	}
	if c.recent.Add(int64(n)); n < 8<<10 { // of large messages, forget slowly
		c.recent.Add(-2 << 10)
	}
	if c.recent.Load() < 0 {
		c.recent.Store(0)
	}
	return int(c.recent.Load()) > c.p.rough.calm || n >= 8<<10
}

// carry carries one direction.
func (c *pair) carry(from, to net.Conn, r *rand.Rand, fromCaller bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			to.(*net.TCPConn).CloseWrite()
			return
		}
		busy := c.busy(n)
		if !c.p.on.Load() {
			to.Write(b[:n])
			continue
		}
		if r.Float64() < c.p.rough.delay {
			c.p.pause(upTo(r, c.p.rough.wait))
		}
		if (c.p.rough.calm == 0 || !busy) && r.Float64() < c.p.rough.cut {
			c.cut(b[:n], r, fromCaller)
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut ends the connection for the caller, at once, amid a chunk, or after it. What
// the caller had sent may come to the server when the caller has long gone on.
func (c *pair) cut(chunk []byte, r *rand.Rand, fromCaller bool) {
	c.p.cuts.Add(1)
	c.caller.(*net.TCPConn).SetLinger(0)
	c.caller.Close()
	if fromCaller {
		part := chunk[:r.IntN(len(chunk)+1)]
		if r.Float64() < c.p.rough.late {
			c.p.lates.Add(1)
			c.p.pause(upTo(r, c.p.rough.lag))
			part = chunk
		}
		c.server.Write(part)
		c.p.pause(time.Millisecond) // for the server to read it before the end
	}
	c.server.Close()
}
