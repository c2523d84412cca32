//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// flushTime is what a backend is given to close when the host has gone, and leaveTime
// after what time the process goes all the same.
const (
	flushTime = time.Second
	leaveTime = 1500 * time.Millisecond
)

// Serve serves the backend that open makes to the host that started this process, and
// ends the process when the host asks for it or is gone. In a process without a host, it
// prints how to use the program and exits with code 1. A main must not do anything before
// it that takes time or writes to standard output. The functions in atEnd are called
// once, after the backend was closed, within the rest of a second: to send or remove what
// is left.
//
// A plugin that can judge its configuration without opening anything uses [Plugin.Serve].
func Serve(open sdk.Opener, atEnd ...func(context.Context) error) {
	Plugin{Open: open, AtEnd: atEnd}.Serve()
}

// Plugin configures a process.
type Plugin struct {
	// Open makes the backend.
	Open sdk.Opener
	// Try judges a configuration and returns the Info of a backend with it. It must not
	// open, create or lock anything: a running host may have it open. "plinth check"
	// calls it in an empty folder, in place of Open. If nil, a check reports only that
	// the plugin starts. See [sdk.TryByOpening].
	Try func(ctx context.Context, env sdk.Env) (storage.Info, error)
	// AtEnd has the functions that [Serve] calls at the end.
	AtEnd []func(context.Context) error
}

// Serve serves p, as the function [Serve] does.
func (p Plugin) Serve() {
	if os.Getenv(abi.CookieKey) != abi.CookieValue {
		fmt.Fprintf(os.Stderr, "%s is a Plinth plugin: a host starts it. Name it in a configuration, as plugins: { NAME: { process: { command: [PATH] } } }, or try \"plinth plugin test PATH\".\n", os.Args[0])
		os.Exit(1)
	}
	// When the host has gone, its end of the log's pipe is closed: that must not end this
	// process before the backend was closed. The processes that it starts do not inherit this.
	// A signal to all processes of a service, as systemd sends, is for the host: it closes
	// the backend when no call is in flight any more, and then ends this process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	host := os.Getppid()
	s := newServer(p)
	go func() {
		// The host holds the other end of standard input: nothing comes, and when it
		// ends the host is gone, however it went.
		_, _ = io.Copy(io.Discard, os.Stdin)
		told := s.told.Load()
		flushed := make(chan int, 1)
		go func() { flushed <- s.flush() }()
		code := 1
		select {
		case code = <-flushed:
		case <-time.After(leaveTime): // it does not hear that its time is over
		}
		if dir := os.Getenv(abi.RunDirKey); dir != "" {
			_ = os.RemoveAll(dir) // there is no host to report an error to
		}
		if pid := os.Getpid(); syscall.Getpgrp() == pid && orphaned(host, told) {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // with the processes that it has started, which nothing else ends
		}
		os.Exit(code)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: abi.CookieKey, MagicCookieValue: abi.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{abi.Version: {abi.PluginKind: &kind{server: s}}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.ForceServerCodecV2(abigrpc.NewCodec()),
				grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	os.Exit(s.flush())
}

// orphaned reports whether the host has ended. The host's pipes end before its children get
// a new parent, so this waits a moment, unless the host has asked this process to close.
func orphaned(host int, told bool) bool {
	for range 20 {
		if os.Getppid() != host {
			return true
		}
		if told {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// flush closes the backend if the host has not, does what is to be done at the end,
// and is the exit code.
func (s *server) flush() int {
	s.flushed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		if err := s.close(ctx); err != nil && !errors.Is(err, errNotOpen) {
			s.log.Error("the backend could not be closed", "error", err)
			s.code = 1
		}
		for _, f := range s.plugin.AtEnd {
			if err := f(ctx); err != nil {
				s.log.Warn("a function of AtEnd failed", "error", err)
			}
		}
	})
	return s.code
}

// kind is what go-plugin knows the service as.
type kind struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer registers the service.
func (k *kind) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(k.server.service(), nil)
	return nil
}

// GRPCClient fails: the client is on the host's side.
func (k *kind) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin has no client")
}

// newLog writes lines that a host parses, with the trace of the call that they were
// written in, from the level on that the host logs, or all if lowest is empty.
func newLog(w io.Writer, lowest string) *slog.Logger {
	level := slog.LevelDebug
	_ = level.UnmarshalText([]byte(lowest)) // what is no level leaves it as it was
	return slog.New(traced{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})})
}

// traced adds the trace context of the call to records.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if ctx != nil {
		if traceparent, _ := sdk.TraceContext(ctx); traceparent != "" {
			r = r.Clone()
			r.AddAttrs(slog.String("traceparent", traceparent))
		}
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(a)} }
func (t traced) WithGroup(name string) slog.Handler   { return traced{t.Handler.WithGroup(name)} }
