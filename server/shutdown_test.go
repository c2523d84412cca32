package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// A request beyond the limit of requests at once fails at once, as one of which nothing was done.
func TestConcurrency(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 2)
	s := serve(t, func(c *server.Config, set *server.Settings) {
		c.MaxConcurrent = 2
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: gate, entered: entered}, storage.Settings{})
	})
	s.fill("k")
	running := make(chan answer, 2)
	for range 2 {
		go func() { running <- s.get("/keys/k") }()
	}
	<-entered
	<-entered
	a := s.must(s.raw("PUT "+base+"/keys/k", "v"), 503)
	if a.code() != "unavailable" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%s %v", a.body, a.header)
	}
	s.has("k", "v-k")
	s.must(s.raw("GET /livez", ""), 200)
	close(gate)
	for range 2 {
		s.must(<-running, 200)
	}
}

// gated returns from Get when the gate is open, or the caller has gone.
type gated struct {
	storage.Backend
	gate    chan struct{}
	entered chan struct{} // gets one for each Get that has arrived, if not nil
	left    chan error    // gets why a Get ended early, if not nil
}

func (g *gated) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if g.entered != nil {
		g.entered <- struct{}{}
	}
	select {
	case <-g.gate:
	case <-ctx.Done():
		if g.left != nil {
			g.left <- ctx.Err()
		}
		return storage.Item{}, storage.ContextError(ctx)
	}
	return g.Backend.Get(ctx, key)
}

// The end of serving lets a request finish, and readiness says so meanwhile.
func TestGracefulShutdown(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: gate, entered: entered}, storage.Settings{})
	})
	s.fill("k")
	running := make(chan answer, 1)
	go func() { running <- s.get("/keys/k") }()
	<-entered
	s.stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a draining server takes connections")
		}
	}
	close(gate)
	if a := <-running; a.status != 200 || a.body != "v-k" {
		t.Errorf("the request in flight: %d %s", a.status, a.body)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

// A request that does not finish in time is cut off, and the end says so.
func TestShutdownTimeout(t *testing.T) {
	entered := make(chan struct{}, 1)
	s := serve(t, func(c *server.Config, set *server.Settings) {
		c.ShutdownTimeout = 100 * time.Millisecond
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: make(chan struct{}), entered: entered}, storage.Settings{})
	})
	running := make(chan answer, 1)
	go func() { running <- s.get("/keys/k") }()
	<-entered
	s.stop()
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Error(err)
	}
	s.ended <- nil
	if a := <-running; !a.cut {
		t.Errorf("%+v", a)
	}
}

// A connection without a request so far does not delay the end.
func TestShutdownAmidSilence(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.must(s.get("/keys/k"), 200) // accepted after the other
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

// A caller that hangs up ends its call.
func TestHangUp(t *testing.T) {
	entered, left := make(chan struct{}, 1), make(chan error, 1)
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: make(chan struct{}), entered: entered, left: left}, storage.Settings{})
	})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n", base)
	<-entered
	conn.Close()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call goes on without a caller")
	}
}
