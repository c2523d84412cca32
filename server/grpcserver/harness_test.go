package grpcserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// served is a server on loopback with the store "s" over memory, and a plain gRPC
// connection to it.
type served struct {
	t     *testing.T
	addr  string
	store *storage.Store
	now   time.Time
	conn  *grpc.ClientConn
	stop  context.CancelFunc
	ended chan error
}

// serve starts a server; edit changes what it is made with.
func serve(t *testing.T, edit func(*grpcserver.Config, *grpcserver.Settings), opts ...grpc.DialOption) *served {
	t.Helper()
	goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := &served{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ended: make(chan error, 1)}
	clock := func() time.Time { return s.now }
	s.store = storage.New(memory.New(memory.DefaultConfig(), sdk.Env{Now: clock}), storage.Settings{Clock: clock})
	config := grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0", ShutdownTimeout: 5 * time.Second}}
	settings := grpcserver.Settings{Stores: map[string]*storage.Store{"s": s.store}, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&config, &settings)
	}
	srv, err := grpcserver.New(config, settings)
	if err != nil {
		t.Fatal(err)
	}
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- srv.Serve(ctx, l) }()
	target := "passthrough:///" + s.addr
	if path, ok := strings.CutPrefix(config.Address, "unix:"); ok {
		target = "unix:" + path
	}
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)
	if s.conn, err = grpc.NewClient(target, opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.conn.Close()
		stop()
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return s
}

// with is a context with metadata, as names and values.
func with(pairs ...string) context.Context {
	return metadata.NewOutgoingContext(context.Background(), metadata.Pairs(pairs...))
}

// call makes one call with the codec of the service.
func (s *served) call(ctx context.Context, method string, request, answer abigrpc.Message, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return s.conn.Invoke(ctx, method, request, answer, append(opts, grpc.ForceCodecV2(abigrpc.NewCodec()), grpc.MaxCallRecvMsgSize(1<<30))...)
}

func (s *served) get(ctx context.Context, key string) (storage.Item, error) {
	var it abigrpc.Item
	err := s.call(ctx, abigrpc.MethodGet, &abigrpc.GetRequest{Key: []byte(key)}, &it)
	return it.Item, err
}

func (s *served) apply(ctx context.Context, w storage.WriteSet) (uint64, error) {
	var applied abigrpc.ApplyResponse
	err := s.call(ctx, abigrpc.MethodApply, &abigrpc.WriteSet{WriteSet: w}, &applied)
	return applied.Version, err
}

func put(key, value string) storage.WriteSet {
	return storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), []byte(value))}}
}

func (s *served) fill(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if err := s.store.Set(context.Background(), []byte(k), []byte("v-"+k)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// fails demands an error of both codes, and gives it.
func (s *served) fails(err error, grpcCode codes.Code, code storage.Code) *storage.Error {
	s.t.Helper()
	e := abigrpc.FromStatus(err)
	if status.Code(err) != grpcCode || e == nil || e.Code != code {
		s.t.Errorf("%v (%+v), want %s and %s", err, e, grpcCode, code)
		return &storage.Error{}
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gated returns from Get when the gate is open, or the caller has gone.
type gated struct {
	storage.Backend
	gate    chan struct{}
	entered chan struct{}
}

func (g *gated) Get(ctx context.Context, key []byte) (storage.Item, error) {
	g.entered <- struct{}{}
	select {
	case <-g.gate:
	case <-ctx.Done():
		return storage.Item{}, storage.ContextError(ctx)
	}
	return g.Backend.Get(ctx, key)
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}

func insecureCredentials() credentials.TransportCredentials { return insecure.NewCredentials() }
