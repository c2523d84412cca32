package procs_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
)

// badPlugins do what no plugin should.
func badPlugins() map[string]func() {
	return map[string]func(){
		"silent":   func() { time.Sleep(time.Hour) },
		"exits":    func() { fmt.Fprintln(os.Stderr, "no license"); os.Exit(7) },
		"garbage":  func() { fmt.Println("hello, world"); time.Sleep(time.Hour) },
		"unended":  func() { fmt.Print("hello, world"); time.Sleep(time.Hour) },
		"long":     func() { fmt.Println(strings.Repeat("x", 1<<20)); time.Sleep(time.Hour) },
		"endless":  func() { fmt.Print(strings.Repeat("x", 1<<20)); time.Sleep(time.Hour) },
		"old":      func() { fmt.Println("1|99|unix|/nowhere|grpc|"); time.Sleep(time.Hour) },
		"ancient":  func() { fmt.Println("0|1|unix|/nowhere|grpc|"); time.Sleep(time.Hour) },
		"net rpc":  func() { fmt.Println("1|1|unix|/nowhere|netrpc|"); time.Sleep(time.Hour) },
		"tcp":      func() { fmt.Println("1|1|tcp|127.0.0.1:1|grpc|"); time.Sleep(time.Hour) },
		"nowhere":  func() { fmt.Println("1|1|unix|/nowhere|grpc|"); time.Sleep(time.Hour) },
		"deaf":     deaf,
		"forks":    func() { forks(false) },
		"detaches": func() { forks(true) },
		"panics": func() {
			process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) { return moody{}, nil })
		},
		"talks": func() {
			process.Serve(func(_ context.Context, env sdk.Env) (storage.Backend, error) { return talker{log: env.Log}, nil })
		},
		"refuses": func() {
			process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) {
				return nil, &storage.Error{Code: storage.InvalidArgument, Msg: "there is no such region", ConfigPath: "region"}
			})
		},
		"another id": func() { serveFrames(func(id uint32) []byte { return frame(id+1, 8) }) },
		"twice":      func() { serveFrames(func(id uint32) []byte { return append(frame(id, 8), frame(id, 8)...) }) },
		"4 GiB":      func() { serveFrames(func(id uint32) []byte { return frame(id, 1<<32-1) }) },
		"polite":     polite,
		"long name": func() {
			process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) {
				return named{name: strings.Repeat("x", 2<<20)}, nil
			})
		},
		"two lines": func() {
			process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) { return named{name: "a\nplinth: ok"}, nil })
		},
		"flushes":   func() { flushes(false) },
		"spawns":    spawns,
		"stuck":     func() { flushes(true) },
		"shouts":    func() { fmt.Fprintln(os.Stderr, "x"+strings.Repeat("é", 500)); os.Exit(1) },
		"cut error": func() { serveFrames(cutError) },
		"exhausted": func() { serveFrames(nil) },
		"no reader": func() { serveFrames(nil) },
	}
}

// deaf listens and never answers.
func deaf() {
	l, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s"))
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|\n", l.Addr())
	time.Sleep(time.Hour)
}

// forks starts a child that holds its output, and outlives it if it can: one that
// has detached itself from its group does, for a while.
func forks(detached bool) {
	child := exec.Command("sleep", "3")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: detached}
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "child", child.Process.Pid)
	process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) { return moody{}, nil })
}

// named is a backend with that name.
type named struct {
	storage.UnimplementedBackend
	name string
}

func (n named) Info() storage.Info { return storage.Info{Name: n.name} }

// moody does what a key says.
type moody struct{ storage.UnimplementedBackend }

func (moody) Info() storage.Info { return storage.Info{Name: "moody", Version: "1"} }

var hoard [][]byte

// talker logs more than a host takes, of what it may not want.
type talker struct {
	moody
	log *slog.Logger
}

func (t talker) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if string(key) != "talk" {
		return t.moody.Get(ctx, key)
	}
	for range 3000 {
		t.log.Debug("first")
	}
	t.log.Info("next")
	t.log.Error("last")
	return storage.Item{}, nil
}

func (moody) Get(ctx context.Context, key []byte) (storage.Item, error) {
	switch string(key) {
	case "panic":
		panic("out of cheese")
	case "exit":
		fmt.Fprintln(os.Stderr, "good bye")
		os.Exit(9)
	case "wait":
		<-ctx.Done()
		return storage.Item{}, ctx.Err()
	case "hang":
		select {}
	case "trace":
		traceparent, tracestate := sdk.TraceContext(ctx)
		return storage.Item{Value: []byte(traceparent + " " + tracestate)}, nil
	case "span": // one of its own, as a plugin makes it
		traceparent, tracestate := sdk.TraceContext(ctx)
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
		_, span := trace.NewTracerProvider().Tracer("plugin").Start(ctx, "own")
		defer span.End()
		parent := span.(trace.ReadOnlySpan).Parent()
		return storage.Item{Value: []byte(span.SpanContext().TraceID().String() + " " + parent.SpanID().String())}, nil
	case "dir":
		dir, err := os.Getwd()
		return storage.Item{Value: []byte(dir)}, err
	case "exhaust":
		for {
			hoard = append(hoard, make([]byte, 64<<20))
		}
	case "flood":
		for range 3000 {
			fmt.Fprintln(os.Stderr, "drop")
		}
		return storage.Item{}, storage.ErrNotFound
	case "env":
		return storage.Item{Value: []byte(strings.Join(os.Environ(), "\n"))}, nil
	case "stdin":
		info, err := os.Stdin.Stat()
		return storage.Item{Value: []byte(info.Mode().Type().String())}, err
	}
	return storage.Item{}, storage.ErrNotFound
}

func (m moody) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	_, err := m.Get(ctx, w.Ops[0].Key)
	return 0, err
}

func (moody) Health(context.Context, storage.Probe) (storage.Health, error) {
	return storage.Health{Status: storage.Healthy}, nil
}

func (moody) Close(context.Context) error { return nil }

// serveFrames is a plugin with a data socket of its own, whose answer to a request is
// what reply returns. If reply is nil, it does not read.
func serveFrames(reply func(id uint32) []byte) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: abi.CookieKey, MagicCookieValue: abi.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{1: {abi.PluginKind: &service{reply: reply}}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.ForceServerCodecV2(abigrpc.NewCodec()))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

type service struct {
	plugin.NetRPCUnsupportedPlugin
	reply func(id uint32) []byte
}

func (s *service) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("none")
}

func (s *service) GRPCServer(_ *plugin.GRPCBroker, srv *grpc.Server) error {
	method := func(name string, request func() any, f func() (any, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := read(request()); err != nil {
				return nil, err
			}
			return f()
		}}
	}
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: abigrpc.Service, Methods: []grpc.MethodDesc{
		method("Open", func() any { return &abigrpc.Open{} }, func() (any, error) { return &abigrpc.Info{Info: storage.Info{Name: "bad"}}, nil }),
		method("Get", func() any { return &abigrpc.Raw{} }, exhausted), method("Apply", func() any { return &abigrpc.Raw{} }, exhausted),
		method("Attach", func() any { return &abipb.AttachRequest{} }, s.attach),
	}}, nil)
	return nil
}

func exhausted() (any, error) { return nil, status.Error(codes.ResourceExhausted, "too much") }

func (s *service) attach() (any, error) {
	l, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "d"))
	if err != nil {
		return nil, err
	}
	go func() {
		c, err := l.Accept()
		if err != nil || s.reply == nil {
			return
		}
		r := bufio.NewReader(c)
		if _, err := r.Discard(abi.TokenSize); err != nil {
			return
		}
		for {
			head, err := r.Peek(12)
			if err != nil {
				return
			}
			id := binary.LittleEndian.Uint32(head[4:])
			_, _ = r.Discard(int(binary.LittleEndian.Uint32(head)) + 4)
			_, _ = c.Write(s.reply(id))
		}
	}()
	return &abipb.AttachResponse{Path: l.Addr().String(), Token: make([]byte, abi.TokenSize)}, nil
}

// cutError is an answer whose Error ends too early.
func cutError(id uint32) []byte {
	b := append(frame(id, 10), 0x0a, 0xff)
	b[8] = byte(storage.Unavailable)
	return b
}

func frame(id, size uint32) []byte {
	b := abi.BeginFrame(nil, id, 0, nil)
	binary.LittleEndian.PutUint32(b, size)
	return b
}
