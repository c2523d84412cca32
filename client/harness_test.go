package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

var silent = slog.New(slog.DiscardHandler)

// mem is a memory backend with an incarnation of its own.
func mem(now func() time.Time) storage.Backend {
	env := sdk.Env{Now: now}
	rand.Read(env.Incarnation[:])
	return memory.New(memory.DefaultConfig(), env)
}

// served is a server on a unix socket or loopback, with the store "s".
type served struct {
	address string
	stop    func() error
}

// serve serves b at the address until stop, which may be called again.
func serve(c grpcserver.Config, b storage.Backend, now func() time.Time) (*served, error) {
	return serveTraced(c, b, now, nil)
}

func serveTraced(c grpcserver.Config, b storage.Backend, now func() time.Time, tracer trace.TracerProvider) (*served, error) {
	s := grpcserver.Settings{Tracer: tracer, Stores: map[string]*storage.Store{"s": storage.New(b, storage.Settings{Clock: now})}, Log: silent}
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 5 * time.Second
	}
	srv, err := grpcserver.New(c, s)
	if err != nil {
		return nil, err
	}
	l, err := srv.Listen()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	address := l.Addr().String()
	if _, ok := l.(*net.UnixListener); ok {
		address = "unix:" + address
	}
	return &served{address: address, stop: func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}}, nil
}

// forgetful says that it remembers fewer IDs than it does: the kit then writes
// fewer until it asks for the first again, each a call over the network.
type forgetful struct{ storage.Backend }

func (f forgetful) Info() storage.Info {
	info := f.Backend.Info()
	info.Limits.IDCount = 5000
	return info
}

// stack is a client over a served memory backend. Closing it closes all of it.
func stack(ctx context.Context, clock *storagetest.Clock, between func(address string) (through string, begin, undo func())) (storage.Backend, error) {
	b := mem(clock.Now)
	if between == nil { // else there is to be time for a write to be repeated
		b = forgetful{b}
	}
	hub := wrappers.NewHub(b)
	hub.KeepChanges(clock.Now)
	srv, err := serve(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, hub.Backend(), clock.Now)
	if err != nil {
		return nil, err
	}
	address, begin, undo := srv.address, func() {}, func() {}
	if between != nil {
		address, begin, undo = between(address)
	}
	// Of so many attempts that not all of them meet a cut.
	c, err := client.Dial(ctx, client.Config{Address: address, Store: "s", Attempts: 32}, client.Settings{Clock: clock.Now, Log: silent})
	if err != nil {
		undo()
		return nil, errors.Join(err, srv.stop(), b.Close(ctx))
	}
	begin()
	var once sync.Once
	return storagetest.WithClose(c, func(ctx context.Context) error {
		err := c.Close(ctx)
		once.Do(undo)
		return errors.Join(err, srv.stop(), b.Close(ctx))
	}), nil
}

func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "plinth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}
