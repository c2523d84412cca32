package gatekeeper

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Guard slows callers with wrong tokens, and logs them. The right token is never delayed.
// It is safe for concurrent use, and the zero Guard is ready.
type Guard struct {
	Log *slog.Logger // optional

	failures atomic.Int64
	waiting  atomic.Int64
	mu       sync.Mutex
	clients  map[string]*tries
	logged   time.Time // when the log was last written to
	untold   int       // since then
}

// tries counts the tries of one address.
type tries struct {
	n    int
	last time.Time
}

// The first wrong tokens of an address cost nothing, because people make mistakes; then each
// costs twice as much as the one before, up to longestPause. An address that has not tried
// for the time of forgiven begins anew.
const (
	freeTries    = 3
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	forgiven     = 5 * time.Minute
	mostClients  = 4096 // that are remembered; those beyond share one record
	mostWaiting  = 256  // at once; callers beyond it are answered without a wait
	logEvery     = 10 * time.Second
)

// Failures returns the number of wrong tokens.
func (g *Guard) Failures() int64 { return g.failures.Load() }

// Failed counts a wrong token from an address. It waits for the delay of that, or until
// ctx ends.
func (g *Guard) Failed(ctx context.Context, address string) {
	g.failures.Add(1)
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host // not the port, which is another with each connection
	}
	pause := g.note(address, time.Now())
	if pause == 0 {
		return
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > mostWaiting {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// note counts a try, and logs it if a record is due.
func (g *Guard) note(address string, now time.Time) (pause time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.untold++; g.Log != nil && now.Sub(g.logged) >= logEvery {
		g.Log.Warn("wrong token", "address", address, "wrong_tokens", g.untold)
		g.logged, g.untold = now, 0
	}
	if g.clients == nil {
		g.clients = map[string]*tries{}
	}
	t := g.clients[address]
	if t == nil {
		if len(g.clients) >= mostClients {
			g.forget(now)
		}
		if len(g.clients) >= mostClients {
			address = ""
		}
		if t = g.clients[address]; t == nil {
			t = &tries{}
			g.clients[address] = t
		}
	}
	if now.Sub(t.last) >= forgiven {
		t.n = 0
	}
	t.n, t.last = t.n+1, now
	if t.n <= freeTries {
		return 0
	}
	return min(firstPause<<min(t.n-freeTries-1, 10), longestPause)
}

// forget drops some of those who have not tried for long: a few at a time, so that it
// costs the same however many there are.
func (g *Guard) forget(now time.Time) {
	looked := 0
	for address, t := range g.clients {
		if now.Sub(t.last) >= forgiven {
			delete(g.clients, address)
		}
		if looked++; looked == 16 {
			return
		}
	}
}
