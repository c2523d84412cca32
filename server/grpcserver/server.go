package grpcserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/tap"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/failures"
	"github.com/plinthkv/plinth/internal/gatekeeper"
)

// Server serves stores over gRPC. It is safe for concurrent use.
type Server struct {
	config     Config
	settings   Settings
	gatekeeper gatekeeper.Gatekeeper
	tls        *tls.Config
	rules      atomic.Pointer[rules]
	slots      *slots          // of calls that run
	arrivals   *slots          // of calls whose message is still to come
	followers  *slots          // of calls that wait for changes
	waits      context.Context // ends when the end begins
	endWaits   context.CancelFunc
	codec      encoding.CodecV2
	stats      stats.Handler // nil if none
	fence      *fence
	guard      gatekeeper.Guard
	failures   failures.Log
	instance   string        // of this server, random
	draining   chan struct{} // closed when the end begins
	drain      sync.Once
	watchers   atomic.Int64
	address    atomic.Pointer[string]
}

// New returns a server, or an error if the configuration is invalid. An address beyond
// loopback requires TLS, and a token or client certificates.
func New(c Config, s Settings) (*Server, error) {
	c.defaults()
	if share := s.Memory.Share(); share > 0 { // a message takes twice its size, for a moment
		c.MessageBytes = int(min(int64(c.MessageBytes), share/2))
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	d := c.gatekeeper()
	if err := d.Check(); err != nil {
		return nil, err
	}
	t, err := d.TLS(s.Log, "h2")
	if err != nil {
		return nil, err
	}
	srv := &Server{config: c, settings: s, failures: failures.Log{To: s.Log}, gatekeeper: d, tls: t, slots: newSlots(c.MaxConcurrent), arrivals: newSlots(arrivalsPerCall * c.MaxConcurrent), followers: newSlots(followersPerCall * c.MaxConcurrent),
		codec: abigrpc.NewCodec(), fence: newFence(), instance: rand.Text(), draining: make(chan struct{})}
	srv.waits, srv.endWaits = context.WithCancel(context.Background())
	srv.guard.Log = s.Log
	if err := srv.countFailures(); err != nil {
		return nil, err
	}
	srv.Update(c, s.Stores)
	if s.Tracer != nil || s.Meter != nil {
		srv.stats = srv.telemetry()
	}
	return srv, nil
}

// scheme has the forms of addresses.
var scheme = gatekeeper.Scheme{Plain: "grpc://", TLS: "grpcs://", Unix: "grpc+unix:"}

// Listen opens the configured address. A unix socket is accessible only to this user. A
// stale socket of an earlier server is replaced; a socket in use is an error.
func (s *Server) Listen() (net.Listener, error) {
	l, address, err := s.gatekeeper.Listen(scheme)
	if err == nil {
		s.address.Store(&address)
	}
	return l, err
}

// Adopt sets the address of the server to that of l, a listener that was opened
// elsewhere, for example by a service manager, and will be passed to Serve. An address
// beyond loopback requires TLS, and a token or client certificates.
func (s *Server) Adopt(l net.Listener) error {
	address, err := s.gatekeeper.Adopt(l, scheme)
	if err == nil {
		s.address.Store(&address)
	}
	return err
}

// Address returns the address of the server after Listen or Adopt, such as
// "grpc://127.0.0.1:7420".
func (s *Server) Address() string {
	if a := s.address.Load(); a != nil {
		return *a
	}
	return ""
}

// Serve serves calls on l until ctx ends. Then it is no longer healthy, accepts no new
// calls, waits for those in flight for at most the configured time, and cuts off the
// rest. Call it once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := s.grpcServer()
	stopSweep := s.slots.sweep(min(s.config.MessageTimeout, s.config.WriteTimeout))
	defer stopSweep()
	defer s.arrivals.sweep(s.config.MessageTimeout)()
	defer s.followers.sweep(s.config.WriteTimeout)()
	failed := make(chan error, 1)
	greeted := newGreetings(l)
	go func() { failed <- srv.Serve(greeted) }()
	select {
	case err := <-failed:
		srv.Stop()
		return err
	case <-ctx.Done():
	}
	s.drain.Do(func() { close(s.draining); s.endWaits() })
	delay := time.NewTimer(s.config.ShutdownDelay)
	defer delay.Stop()
	select {
	case err := <-failed:
		srv.Stop()
		return err
	case <-delay.C:
	}
	s.settings.Log.Info("shutting down", "server", "grpc", "timeout", s.config.ShutdownTimeout)
	greeted.end()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.GracefulStop()
	}()
	timer := time.NewTimer(s.config.ShutdownTimeout)
	defer timer.Stop()
	var err error
	select {
	case <-stopped:
	case <-timer.C:
		srv.Stop()
		<-stopped
		err = fmt.Errorf("some calls did not finish within %s and were cut off", s.config.ShutdownTimeout)
	}
	if end := <-failed; end != nil && !errors.Is(end, grpc.ErrServerStopped) {
		err = errors.Join(err, end)
	}
	return err
}

// arrivalsPerCall limits how many calls may be sending their message for each that may run.
// What they have sent counts as memory.
const arrivalsPerCall = 8

// followersPerCall limits how many calls may wait for changes, for each that may run.
const followersPerCall = 16

// window limits how much of a message a caller may send before it is read.
const window = 64 << 10

// streamWorkers is how many calls find a goroutine that has grown its stack
// before; more calls than that have new ones.
const streamWorkers = 64

// grpcServer returns the gRPC server with all that is registered.
func (s *Server) grpcServer() *grpc.Server {
	c := &s.config
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(s.codec),
		grpc.MaxRecvMsgSize(c.MessageBytes), grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(uint32(min((1+followersPerCall)*c.MaxConcurrent, math.MaxInt32))),
		grpc.MaxHeaderListSize(uint32(min(c.HeaderBytes, math.MaxInt32))),
		grpc.ConnectionTimeout(c.HeaderTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: c.IdleTimeout, MaxConnectionAge: c.MaxAge,
			MaxConnectionAgeGrace: c.ShutdownTimeout, Time: pingAfter, Timeout: pingTimeout}),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window * 16), // else they grow by themselves
		grpc.Creds(s.credentials()), grpc.NumStreamWorkers(streamWorkers), grpc.InTapHandle(endable), grpc.StreamInterceptor(s.streams),
	}
	if s.stats != nil {
		opts = append(opts, grpc.StatsHandler(s.stats))
	}
	srv := grpc.NewServer(append(opts, s.settings.Options...)...)
	srv.RegisterService(s.service(), nil)
	healthpb.RegisterHealthServer(srv, health{s: s})
	reflection.Register(srv)
	return srv
}

// credentials returns the transport credentials: TLS, or none.
func (s *Server) credentials() credentials.TransportCredentials {
	if s.tls != nil {
		return bare{credentials.NewTLS(s.tls)}
	}
	return bare{insecure.NewCredentials()}
}

// endable gives each call a context that the server can end, which is the only
// way to leave a caller that neither sends nor takes its message.
func endable(ctx context.Context, _ *tap.Info) (context.Context, error) {
	c := &endableContext{}
	c.Context, c.end = context.WithCancel(ctx)
	return c, nil
}

type endableContext struct {
	context.Context
	end context.CancelFunc
}

type endableKey struct{}

// Value returns the context itself for its own key, else the value of the parent.
func (c *endableContext) Value(key any) any {
	if key == (endableKey{}) {
		return c
	}
	return c.Context.Value(key)
}
