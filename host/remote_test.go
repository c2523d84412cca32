package host_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// serveGRPC serves stores on loopback until stop, and returns the address.
func serveGRPC(stores map[string]*storage.Store, token string) (address string, stop func() error, err error) {
	srv, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0", Token: secret.Copy(token)}},
		grpcserver.Settings{Stores: stores, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", nil, err
	}
	l, err := srv.Listen()
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	return l.Addr().String(), sync.OnceValue(func() error { cancel(); return <-ended }), nil
}

const remoteYAML = `
plugins: { hq: { remote: %q } }
stores: { a: { backend: { plugin: hq, config: { store: kept } }, pipeline: [%s] } }`

// A host whose backend is a store of another host keeps the contract.
func TestRemoteConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where the kit of client runs, which is all that a remote is")
	}
	clock := storagetest.NewClock()
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		below := memory.New(memory.DefaultConfig(), env)
		address, stop, err := serveGRPC(map[string]*storage.Store{"kept": storage.New(below, storage.Settings{Clock: clock.Now})}, "")
		if err != nil {
			return nil, err
		}
		h, err := open(t, fmt.Sprintf(remoteYAML, address, ""), plinth.WithClock(clock.Now), plinth.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		return storagetest.WithClose(storeOf(t, h, "a").Backend(), func(ctx context.Context) error {
			return errors.Join(h.Close(ctx), stop(), below.Close(ctx))
		}), nil
	}})
}

// A remote that has lost its state, or was started anew, is noticed although all reads
// come from a cache.
func TestRemoteThatLostItsState(t *testing.T) {
	t.Parallel()
	fresh := func() *storage.Store {
		env := sdk.Env{}
		rand.Read(env.Incarnation[:])
		return storage.New(memory.New(memory.DefaultConfig(), env), storage.Settings{})
	}
	behind := &swapped{}
	behind.b.Store(fresh())
	address, stop, err := serveGRPC(map[string]*storage.Store{"kept": storage.New(behind, storage.Settings{})}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	h := mustOpen(t, fmt.Sprintf(remoteYAML, address, "cache: { ttl: 1h }"))
	defer h.Close(ctx)
	key := []byte("k")
	if err := storeOf(t, h, "a").Set(ctx, key, key); err != nil {
		t.Fatal(err)
	}
	for range 2 { // from the cache, in the end
		if _, err := storeOf(t, h, "a").Get(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	behind.b.Store(fresh())
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := storeOf(t, h, "a").Get(ctx, key); errors.Is(err, storage.ErrNotFound) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("what the lost one held is still served")
		}
	}
}

// swapped is a backend in whose place another one may come.
type swapped struct {
	storage.UnimplementedBackend
	b atomic.Pointer[storage.Store]
}

func (s *swapped) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return s.b.Load().Backend().Get(ctx, key)
}

func (s *swapped) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return s.b.Load().Apply(ctx, w)
}

func (s *swapped) Info() storage.Info { return s.b.Load().Info() }

// A remote of a remote: what is written at one end is there at the other, and the
// carrier is notified.
func TestRemoteOfRemote(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	hq := mustOpen(t, `stores: { kept: { backend: { plugin: memory }, pipeline: [] } }`)
	address, stop, err := serveGRPC(map[string]*storage.Store{"kept": storeOf(t, hq, "kept").Store}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	middle := mustOpen(t, fmt.Sprintf(remoteYAML, address, "instrument"))
	address, stopMiddle, err := serveGRPC(map[string]*storage.Store{"kept": storeOf(t, middle, "a").Store}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stopMiddle()
	edge := mustOpen(t, fmt.Sprintf(remoteYAML, address, "instrument, cache"))
	for i := range 10 {
		key, value := fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i)
		if _, err := storeOf(t, edge, "a").Put(ctx, key, value, storage.WithTTL(time.Hour)); err != nil {
			t.Fatal(err)
		}
		got, err := storeOf(t, hq, "kept").GetItem(ctx, key)
		if err != nil || string(got.Value) != string(value) || got.ExpiresAt.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := storeOf(t, edge, "a").Put(ctx, []byte("k1"), nil, storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) || storage.AsError(err).FailedCheck() != 0 {
		t.Errorf("a conflict comes as %v", err)
	}
	if c, s := storeOf(t, edge, "a").Carrier(), storeOf(t, hq, "kept").Carrier(); c != "remote" || s != "wasm" {
		t.Errorf("carriers %q and %q", c, s)
	}
	if !storeOf(t, edge, "a").Shared() || storeOf(t, hq, "kept").Shared() {
		t.Error("others write to a remote, and no other writes to a module")
	}
	for _, h := range []*plinth.Host{edge, middle} {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(stopMiddle(), stop(), hq.Close(ctx)); err != nil {
		t.Error(err)
	}
}

// Errors of a remote are reported with their places in the configuration.
func TestRemoteErrors(t *testing.T) {
	s := storage.New(memory.New(memory.DefaultConfig(), sdk.Env{Now: time.Now}), storage.Settings{})
	address, stop, err := serveGRPC(map[string]*storage.Store{"kept": s, "other": s}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, c := range map[string]struct{ plugin, config, require, want string }{
		"address":    {`remote: "127.0.0.1:1", token: secret`, "store: kept", "", ":2:26: plugins.hq.remote: remote: 127.0.0.1:1: dial tcp"},
		"port":       {`remote: "127.0.0.1:07420", token: secret`, "store: kept", "", ":2:26: plugins.hq.remote: must be host:port"},
		"token":      {fmt.Sprintf(`remote: %q, token: wrong`, address), "store: kept", "", "plugins.hq.token: "},
		"no token":   {fmt.Sprintf(`remote: %q`, address), "store: kept", "", "plugins.hq.token: "},
		"store":      {fmt.Sprintf(`remote: %q, token: secret`, address), "store: none", "", `:3:56: stores.a.backend.config.store: remote: unknown store "none"`},
		"which":      {fmt.Sprintf(`remote: %q, token: secret`, address), "", "", "stores.a.backend.config.store: remote: plinth-store is required: the server has several stores"},
		"key":        {fmt.Sprintf(`remote: %q, token: secret`, address), "stor: kept", "", `stores.a.backend.config.stor: unknown key "stor": did you mean "store"?`},
		"capability": {fmt.Sprintf(`remote: %q, token: secret`, address), "store: kept", "durable", "stores.a.require[0]: the store does not have the capability durable"},
		"clear":      {`remote: "kv.example.org:7420", token: secret`, "store: kept", "", "plugins.hq: the token for kv.example.org:7420 requires TLS"},
	} {
		yaml := fmt.Sprintf("\nplugins: { hq: { %s } }\nstores: { a: { backend: { plugin: hq, config: { %s } }, require: [%s], pipeline: [] } }", c.plugin, c.config, c.require)
		_, err := open(t, yaml, plinth.WithLogger(slog.New(slog.DiscardHandler)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the token is told: %v", name, err)
		}
	}
}
