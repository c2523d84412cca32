package grpcserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// Beyond loopback no caller is served without TLS and authentication.
func TestListenerBeyondLoopback(t *testing.T) {
	cert, key := selfSigned(t)
	for _, c := range []struct {
		at    server.Listener
		fails string
	}{
		{server.Listener{Address: "127.0.0.1:0"}, ""},
		{server.Listener{Address: "unix:/tmp/x.sock"}, ""},
		{server.Listener{Address: "0.0.0.0:0"}, "beyond loopback"},
		{server.Listener{Address: ":7420", Token: secret.Copy("t")}, "beyond loopback"},
		{server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key}, "beyond loopback"},
		{server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key, Token: secret.Copy("t")}, ""},
		{server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key, ClientCA: cert}, ""},
		{server.Listener{Address: "127.0.0.1:0", Cert: cert}, "both a certificate and its key"},
		{server.Listener{Address: "127.0.0.1:0", Cert: "/none", Key: "/none"}, "no such file"},
		{server.Listener{Address: "nonsense"}, "neither host:port nor unix:/path"},
	} {
		_, err := grpcserver.New(grpcserver.Config{Listener: c.at}, grpcserver.Settings{})
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%+v: %v, want %q", c.at, err, c.fails)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) { c.Address = "unix:" + path })
	s.fill("k")
	if _, err := s.get(context.Background(), "k"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// The token is asked of calls and of reflection, not of health.
func TestToken(t *testing.T) {
	s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) { c.Token = secret.Copy("secret") })
	s.fill("k")
	for header, well := range map[string]bool{"": false, "Bearer wrong": false, "Basic secret": false, "secret": false, "Bearer secret": true} {
		ctx := with(abigrpc.MetaAuthorization, header)
		_, err := s.get(ctx, "k")
		if well != (err == nil) {
			t.Errorf("%q: %v", header, err)
		}
		if !well {
			s.fails(err, codes.Unauthenticated, storage.Unauthenticated)
		}
		if _, err := services(ctx, s.conn); well != (err == nil) || !well && status.Code(err) != codes.Unauthenticated {
			t.Errorf("%q: reflection: %v", header, err)
		}
	}
	_, err := s.get(with(abigrpc.MetaAuthorization, "Bearer secret", abigrpc.MetaAuthorization, "Bearer secret"), "k")
	s.fails(err, codes.InvalidArgument, storage.InvalidArgument)
	if r, err := healthpb.NewHealthClient(s.conn).Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health without a token: %v, %v", r, err)
	}
	// Names of stores are for those who have the token.
	health := healthpb.NewHealthClient(s.conn)
	for _, name := range []string{"s", "none"} {
		if r, err := health.Check(context.Background(), &healthpb.HealthCheckRequest{Service: name}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("health of %q without a token: %v, %v", name, r, err)
		}
		watch, err := health.Watch(context.Background(), &healthpb.HealthCheckRequest{Service: name})
		must(t, err)
		if r, err := watch.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a watch of %q without a token: %v, %v", name, r, err)
		}
	}
	token := with(abigrpc.MetaAuthorization, "bearer secret")
	if r, err := health.Check(token, &healthpb.HealthCheckRequest{Service: "s"}); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health of a store: %v, %v", r, err)
	}
	for ctx, want := range map[context.Context]int{context.Background(): 1, token: 2} {
		if r, err := health.List(ctx, &healthpb.HealthListRequest{}); err != nil || len(r.Statuses) != want {
			t.Errorf("a list of %d: %v, %v", want, r, err)
		}
	}
}

func TestTLSAndClientCertificates(t *testing.T) {
	cert, key := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(t, err)
	pem, err := os.ReadFile(cert)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, own := range []bool{true, false} {
		c := &tls.Config{RootCAs: pool, ServerName: "localhost"}
		if own {
			c.Certificates = []tls.Certificate{pair}
		}
		s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) {
			c.Cert, c.Key, c.ClientCA = cert, key, cert
		},
			grpc.WithTransportCredentials(credentials.NewTLS(c)))
		s.fill("k")
		if _, err := s.get(context.Background(), "k"); own != (err == nil) {
			t.Errorf("with a certificate %t: %v", own, err)
		}
		s.conn.Close()
	}
}

// services returns what reflection lists.
func services(ctx context.Context, conn *grpc.ClientConn) ([]string, error) {
	answer, err := reflect(ctx, conn, &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names, nil
}

func reflect(ctx context.Context, conn *grpc.ClientConn, r *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(r); err != nil && !errors.Is(err, fs.ErrClosed) {
		_ = err // the answer says why
	}
	answer, err := stream.Recv()
	stream.CloseSend()
	return answer, err
}

// Reflection shows the service as the schema has it, with all that is served, and three
// methods that only plugins have.
func TestReflection(t *testing.T) {
	s := serve(t, nil)
	names, err := services(context.Background(), s.conn)
	if got := strings.Join(names, " "); err != nil || got != "grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection "+abigrpc.Service {
		t.Errorf("%s, %v", got, err)
	}
	answer, err := reflect(context.Background(), s.conn, &reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: abigrpc.Service}})
	must(t, err)
	var file descriptorpb.FileDescriptorProto
	must(t, proto.Unmarshal(answer.GetFileDescriptorResponse().GetFileDescriptorProto()[0], &file))
	for _, m := range file.GetService()[0].GetMethod() {
		var out []byte
		err := s.conn.Invoke(context.Background(), "/"+abigrpc.Service+"/"+m.GetName(), []byte{}, &out, grpc.ForceCodecV2(raw{}))
		ofPlugins := slices.Contains([]string{"Open", "Try", "Attach"}, m.GetName())          // a host is opened by its configuration
		unserved := status.Code(err) == codes.Unimplemented && abigrpc.FromStatus(err) == nil // the store of this test has no changes, and says so
		if unserved != ofPlugins || m.GetClientStreaming() || m.GetServerStreaming() != (m.GetName() == "Follow") {
			t.Errorf("%s is described, and answered with %v", m.GetName(), err)
		}
	}
}

func TestHealth(t *testing.T) {
	sick := &sickBackend{}
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
		set.Stores["sick"] = storage.New(sick, storage.Settings{})
	})
	c := healthpb.NewHealthClient(s.conn)
	const serving, not = healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING
	for _, h := range []struct {
		health storage.Health
		err    error
		hangs  bool
		want   healthpb.HealthCheckResponse_ServingStatus
	}{
		{health: storage.Health{Status: storage.Healthy}, want: serving}, {health: storage.Health{Status: storage.Degraded}, want: serving},
		{health: storage.Health{Status: storage.Unhealthy}, want: not}, {health: storage.Health{}, want: not},
		{err: storage.ErrUnavailable, want: not}, {hangs: true, want: not},
	} {
		sick.set(h.health, h.err, h.hangs)
		for service, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{"sick": h.want, "": h.want, abigrpc.Service: h.want, "s": serving} {
			if h.hangs && service != "sick" {
				continue // each takes its time
			}
			if r, err := c.Check(context.Background(), &healthpb.HealthCheckRequest{Service: service}); err != nil || r.Status != want {
				t.Errorf("%+v: %q is %v, %v", h, service, r, err)
			}
		}
	}
	sick.set(storage.Health{Status: storage.Unhealthy}, nil, false)
	if _, err := c.Check(context.Background(), &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("a store that there is not: %v", err)
	}
	r, err := c.List(context.Background(), &healthpb.HealthListRequest{})
	if err != nil || r.Statuses["sick"].Status != not || r.Statuses["s"].Status != serving || r.Statuses[""].Status != not {
		t.Errorf("%v, %v", r, err)
	}
}

type sickBackend struct {
	storage.UnimplementedBackend
	mu     sync.Mutex
	health storage.Health
	err    error
	hangs  bool
}

func (b *sickBackend) set(h storage.Health, err error, hangs bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.health, b.err, b.hangs = h, err, hangs
}

func (b *sickBackend) Health(ctx context.Context, _ storage.Probe) (storage.Health, error) {
	b.mu.Lock()
	h, err, hangs := b.health, b.err, b.hangs
	b.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return storage.Health{}, storage.ContextError(ctx)
	}
	return h, err
}

// A caller does not decide how much is logged: of calls that fail, and of those that panic,
// there is a record a second.
func TestFailuresAreLoggedAtARate(t *testing.T) {
	for text, b := range map[string]storage.Backend{"call failed": failing{}, "a call panicked": panics{}} {
		var log bytes.Buffer
		s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
			set.Stores["s"] = storage.New(b, storage.Settings{})
			set.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		start := time.Now()
		for range 200 {
			if _, err := s.get(context.Background(), "k"); err == nil {
				t.Fatal("it does not fail")
			}
		}
		most := 1 + int(time.Since(start)/time.Second)
		s.stop()
		s.ended <- <-s.ended
		if got := strings.Count(log.String(), text); got < 1 || got > most {
			t.Errorf("%q: %d records, want at most %d: %.500s", text, got, most, log.String())
		}
	}
}

type failing struct{ storage.UnimplementedBackend }

func (failing) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, storage.Errorf(storage.Unavailable, "out of cheese")
}
