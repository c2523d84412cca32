package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// rpc is a plain gRPC server with two calls, a served store, and one that is
// served again by a host in between; each on loopback.
type rpc struct {
	plain         *grpc.ClientConn
	store, remote *client.Client
	bulk          *client.Client // of a store that takes bulk imports
	ends          []func() error
}

const rpcCallers = 64

func newRPC(ctx context.Context, b, bulk storage.Backend) (*rpc, error) {
	r := &rpc{}
	plain, err := r.servePlain()
	if err != nil {
		return nil, err
	}
	r.plain = plain
	if r.store, err = r.serve(ctx, b); err != nil {
		return nil, err
	}
	if r.bulk, err = r.serve(ctx, bulk); err != nil {
		return nil, err
	}
	between, err := r.serve(ctx, b)
	if err != nil {
		return nil, err
	}
	r.remote, err = r.serve(ctx, between)
	return r, err
}

func (r *rpc) close() error {
	var errs []error
	for i := len(r.ends) - 1; i >= 0; i-- {
		errs = append(errs, r.ends[i]())
	}
	return errors.Join(errs...)
}

// serve gives a client of b behind a server.
func (r *rpc) serve(ctx context.Context, b storage.Backend) (*client.Client, error) {
	log := slog.New(slog.DiscardHandler)
	srv, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}},
		grpcserver.Settings{Memory: server.NewMemory(0), Stores: map[string]*storage.Store{"s": storage.New(b, storage.Settings{})}, Log: log})
	if err != nil {
		return nil, err
	}
	l, err := srv.Listen()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(life, l) }()
	r.ends = append(r.ends, func() error { end(); return <-ended })
	c, err := client.Dial(ctx, client.Config{Address: l.Addr().String()}, client.Settings{Log: log})
	if err == nil {
		r.ends = append(r.ends, func() error { return c.Close(context.WithoutCancel(ctx)) })
	}
	return c, err
}

// The calls of the plain server: one of empty messages, and one that answers as
// much as a get does.
const emptyCall, valueCall = "/bench.Plain/Empty", "/bench.Plain/Value"

func (r *rpc) servePlain() (*grpc.ClientConn, error) {
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Plain", Methods: []grpc.MethodDesc{
		{MethodName: "Empty", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return &emptypb.Empty{}, read(&emptypb.Empty{})
		}},
		{MethodName: "Value", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return wrapperspb.Bytes(value), read(&wrapperspb.BytesValue{})
		}},
	}}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = srv.Serve(l) }() // it ends with Stop
	r.ends = append(r.ends, func() error { srv.Stop(); return nil })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		r.ends = append(r.ends, conn.Close)
	}
	return conn, err
}

func (r *rpc) empty(ctx context.Context, _ []byte) error {
	return r.plain.Invoke(ctx, emptyCall, &emptypb.Empty{}, &emptypb.Empty{})
}

func (r *rpc) value(ctx context.Context, key []byte) error {
	var answer wrapperspb.BytesValue
	return r.plain.Invoke(ctx, valueCall, wrapperspb.Bytes(key), &answer)
}

// getFrom returns a get that has to find its value.
func getFrom(b storage.Backend) func(context.Context, []byte) error {
	return func(ctx context.Context, key []byte) error {
		it, err := b.Get(ctx, key)
		if err == nil && len(it.Value) != len(value) {
			err = errors.New("another value")
		}
		return err
	}
}

// shared has so many callers share the calls.
func shared(callers int, call func(context.Context, []byte) error) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		var next atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for {
					i := next.Add(1)
					if i > int64(b.N) {
						return
					}
					if err := call(ctx, keys[i%keyCount]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
}

// rows returns the rows of gRPC.
func (r *rpc) rows() []*row {
	const floor = "empty call"
	var all []*row
	for _, c := range []struct {
		work    string
		callers int
		goal    float64
	}{{"gRPC get, 1 caller", 1, 0}, {"gRPC get, 64 callers", rpcCallers, 1.15}} {
		all = append(all,
			&row{work: c.work, subject: floor, floor: floor, run: shared(c.callers, r.empty)},
			&row{work: c.work, subject: "call that returns a value", floor: floor, run: shared(c.callers, r.value)},
			&row{work: c.work, subject: "memory, native", floor: floor, goal: c.goal, run: shared(c.callers, getFrom(r.store))},
			&row{work: c.work, subject: "remote of remote", floor: floor, run: shared(c.callers, getFrom(r.remote))})
	}
	return all
}
