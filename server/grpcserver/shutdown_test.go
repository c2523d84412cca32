package grpcserver_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// A call beyond the limit of calls at once fails at once, as one of which nothing was done.
func TestConcurrency(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 2)
	s := serve(t, func(c *grpcserver.Config, set *grpcserver.Settings) {
		c.MaxConcurrent = 2
		set.Stores["s"] = storage.New(&gated{set.Stores["s"].Backend(), gate, entered}, storage.Settings{})
	})
	s.fill("k")
	other, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecureCredentials())) // streams are limited too, each connection
	must(t, err)
	defer other.Close()
	running := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.get(context.Background(), "k")
			running <- err
		}()
	}
	<-entered
	<-entered
	first := s.conn
	s.conn = other
	_, err = s.apply(context.Background(), put("k", "changed"))
	if e := s.fails(err, codes.Unavailable, storage.Unavailable); e.RetryAfter != time.Second || e.Unknown {
		t.Errorf("%+v", e)
	}
	s.conn = first
	close(gate)
	for range 2 {
		if err := <-running; err != nil {
			t.Error(err)
		}
	}
	if v, err := s.store.GetItem(context.Background(), []byte("k")); err != nil || string(v.Value) != "v-k" {
		t.Errorf("%q, %v", v.Value, err)
	}
}

// A caller that begins a call and never sends its message, and one that does not
// take its answer, are left, so that they keep no caller out.
func TestCallersThatDoNotMove(t *testing.T) {
	s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) {
		c.MaxConcurrent, c.MessageTimeout, c.WriteTimeout = 1, 100*time.Millisecond, 100*time.Millisecond
	})
	must(t, s.store.Set(context.Background(), []byte("large"), make([]byte, 8<<20)))
	wait := func(what string) {
		t.Helper()
		other, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecureCredentials()))
		must(t, err)
		defer other.Close()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			err := other.Invoke(context.Background(), abigrpc.MethodGet, &abigrpc.GetRequest{}, &abigrpc.Item{}, grpc.ForceCodecV2(abigrpc.NewCodec()))
			if status.Code(err) == codes.NotFound {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s keeps others out: %v", what, err)
			}
		}
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // less than what is in force elsewhere
	defer cancel()
	silent, err := s.conn.NewStream(ctx, desc, abigrpc.MethodGet, grpc.ForceCodecV2(abigrpc.NewCodec()))
	must(t, err)
	wait("a caller that sends nothing")
	if err := silent.RecvMsg(&abigrpc.Item{}); status.Code(err) != codes.Canceled {
		t.Errorf("it is told %v", err)
	}
	deaf, err := s.conn.NewStream(ctx, desc, abigrpc.MethodGet, grpc.ForceCodecV2(abigrpc.NewCodec()), grpc.MaxCallRecvMsgSize(16<<20))
	must(t, err)
	must(t, deaf.SendMsg(&abigrpc.GetRequest{Key: []byte("large")}))
	must(t, deaf.CloseSend())
	wait("a caller that takes nothing")
}

// The end lets a call finish, takes no new ones, and says so to those who watch.
func TestGracefulShutdown(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
		set.Stores["s"] = storage.New(&gated{set.Stores["s"].Backend(), gate, entered}, storage.Settings{})
	})
	s.fill("k")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	watch, err := healthpb.NewHealthClient(s.conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: "s"})
	must(t, err)
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	asks, err := reflectionpb.NewServerReflectionClient(s.conn).ServerReflectionInfo(ctx) // one that would never end
	must(t, err)
	must(t, asks.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
	if _, err := asks.Recv(); err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() {
		_, err := s.get(context.Background(), "k")
		running <- err
	}()
	<-entered
	s.stop()
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a watch goes on: %v", err)
	}
	close(gate)
	if err := <-running; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

func TestShutdownTimeout(t *testing.T) {
	entered := make(chan struct{}, 1)
	s := serve(t, func(c *grpcserver.Config, set *grpcserver.Settings) {
		c.ShutdownTimeout = 100 * time.Millisecond
		set.Stores["s"] = storage.New(&gated{set.Stores["s"].Backend(), make(chan struct{}), entered}, storage.Settings{})
	})
	running := make(chan error, 1)
	go func() {
		_, err := s.get(context.Background(), "k")
		running <- err
	}()
	<-entered
	s.stop()
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Error(err)
	}
	s.ended <- nil
	if err := <-running; err == nil {
		t.Error("it was answered")
	}
}

// A caller that has not sent its request does not delay the end.
func TestShutdownAmidGreetings(t *testing.T) {
	s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) { c.HeaderTimeout = time.Minute })
	s.fill("k")
	for _, said := range []string{"", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		c, err := net.Dial("tcp", s.addr)
		must(t, err)
		defer c.Close()
		_, err = c.Write([]byte(said))
		must(t, err)
	}
	if _, err := s.get(context.Background(), "k"); err != nil { // accepted after the others
		t.Fatal(err)
	}
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(4 * time.Second): // less than ShutdownTimeout
		t.Fatal("the end waits for callers that say nothing")
	}
	s.ended <- nil
}
