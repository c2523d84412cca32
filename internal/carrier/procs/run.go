//go:build unix

package procs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// run is one process from its start to its end, with an open backend in it.
type run struct {
	p         *Plugin
	proc      *process
	client    *plugin.Client
	address   net.Addr // of its gRPC server
	conn      *grpc.ClientConn
	transport transport
	info      storage.Info
	stated    storage.Limits // of the plugin's own Info
	dir       string         // of its sockets, and its own where it was granted none
	mark      *os.File       // says that the folder has a host
	wrong     string         // what is wrong although it serves, or empty
	wire      wire           // of its gRPC connections

	over   chan struct{} // closed when it is of no use any more
	ending sync.Once
	why    *storage.Error // after over
}

// ends notes that the process is of no use any more, and why; the first time counts.
func (r *run) ends(why *storage.Error) {
	r.ending.Do(func() {
		r.why = why
		close(r.over)
	})
}

// opening is what a process is started with.
type opening struct {
	config *secret.Value
	now    int64 // in ms
	folder *carrier.Folder
	try    bool // it judges the configuration, and opens nothing
}

// errNoTry reports that a plugin cannot judge a configuration without opening its backend.
var errNoTry = storage.Errorf(storage.Unsupported, "the plugin cannot judge its configuration without opening the backend (it does not implement Try)")

// Try starts a process that judges the configuration, in an empty folder, and says what
// the backend would be. Nothing is opened that a running host may have open. An error of
// the plugin's own is passed on with its ConfigPath; one that cannot judge without opening
// is Unsupported.
func (p *Plugin) Try(ctx context.Context, config json.RawMessage) (storage.Info, error) {
	r, err := p.start(ctx, opening{config: secret.Copy(config), now: p.opts.Clock().UnixMilli(), folder: &carrier.Folder{}, try: true})
	if err != nil {
		return storage.Info{}, p.opts.wrap(err)
	}
	r.stop(context.WithoutCancel(ctx))
	return r.info, nil
}

// start starts a process and opens its backend. An error of the plugin's own about
// its configuration is passed on.
func (p *Plugin) start(ctx context.Context, o opening) (_ *run, err error) {
	if err := p.pinned(); err != nil {
		return nil, err
	}
	p.sweep()
	r := &run{p: p, over: make(chan struct{})}
	if r.dir, r.mark, err = p.runDir(); err != nil {
		return nil, err
	}
	dir := o.folder.Path
	granted := dir != ""
	if !granted {
		if dir = filepath.Join(r.dir, "work"); os.Mkdir(dir, 0o700) != nil {
			dir = r.dir
		}
	}
	if p.opts.Telemetry != nil {
		if err := os.WriteFile(filepath.Join(r.dir, telemetryFile), p.opts.Telemetry, 0o600); err != nil {
			p.leave(r.dir, r.mark)
			return nil, storage.Errorf(storage.Unavailable, "start plugin: telemetry configuration: %w", err)
		}
	}
	out := &output{log: p.opts.Log, rate: &p.logged}
	r.proc = newProcess(p, out, r.dir, dir)
	if granted {
		r.proc.cmd.Env = append(r.proc.cmd.Env, abi.DirKey+"="+dir)
	}
	r.proc.cmd.ExtraFiles = o.folder.Inherited()
	var secure *tls.Config // nil means in the clear
	if !p.opts.Plaintext {
		var own []byte
		if secure, own, err = certificate(time.Now()); err != nil {
			p.leave(r.dir, r.mark)
			return nil, storage.Errorf(storage.Internal, "certificate for the process: %w", err)
		}
		r.proc.cmd.Env = append(r.proc.cmd.Env, certificateKey+"="+string(own))
	}
	r.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: abi.CookieKey, MagicCookieValue: abi.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{abi.Version: {abi.PluginKind: kind{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        secure,
		SkipHostEnv:      true,
		StartTimeout:     p.opts.Start,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: r.dir},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &sink{out: out}, SyncStderr: &sink{out: out},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(abigrpc.NewCodec()),
				grpc.MaxCallRecvMsgSize(p.opts.MaxFrame), grpc.MaxCallSendMsgSize(math.MaxInt32)),
			grpc.WithDisableServiceConfig(),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.wire.dial(ctx, r.address) })},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			r.proc.cmd.Env = append(cmd.Env, r.proc.cmd.Env...)
			return r.proc, nil
		},
	})
	// All that follows waits for the plugin, some of it without a limit: a late plugin is
	// killed, which ends the wait.
	late := time.AfterFunc(p.opts.Start, r.kill)
	left := context.AfterFunc(ctx, r.kill)
	defer func() {
		timely := late.Stop()
		if left(); err == nil && (!timely || ctx.Err() != nil) {
			err = errors.New("the process is being killed")
		}
		if err != nil {
			err = r.explain(ctx, err, timely)
			r.stop(context.Background())
		}
	}()
	if r.address, err = r.client.Start(); err != nil {
		return nil, err
	}
	protocol, err := r.client.Client()
	if err != nil {
		return nil, err
	}
	conn, err := protocol.Dispense(abi.PluginKind)
	if err != nil {
		return nil, err
	}
	r.conn = conn.(*grpc.ClientConn)
	within, cancel := context.WithTimeout(ctx, p.opts.Start)
	defer cancel()
	return r, r.open(within, o)
}

// open opens the backend, and the transport of its calls.
func (r *run) open(ctx context.Context, with opening) error {
	o := abigrpc.Open{Open: abi.Open{Name: r.p.opts.Name, Minor: abi.Minor, MaxFrame: uint32(r.p.opts.MaxFrame),
		Memory: r.p.opts.Memory, Now: with.now}}
	rand.Read(o.Incarnation[:])
	method := abigrpc.MethodOpen
	if with.try {
		method = abigrpc.MethodTry
	}
	var info abigrpc.Info
	var err error
	with.config.Use(func(config []byte) {
		o.Config = config
		err = r.conn.Invoke(ctx, method, &o, &info)
	})
	if err != nil {
		if with.try && status.Code(err) == codes.Unimplemented {
			return errNoTry
		}
		if e := abigrpc.FromStatus(err); e != nil {
			return answer.Clean(e)
		}
		return err
	}
	if err := answer.Info(&info.Info); err != nil {
		return storage.Errorf(storage.Internal, "invalid answer to Open: %v", err)
	}
	r.info, r.stated = info.Info, info.Info.Limits
	r.info.Name, r.info.Version = strings.Clone(r.info.Name), strings.Clone(r.info.Version)
	frame := r.p.opts.MaxFrame - frameReserve
	r.info.Limits = r.info.Limits.Tighten(storage.Limits{Key: frame / 4, Value: frame / 2, WriteBytes: frame, GetKeys: abi.MaxElements, Ops: abi.MaxElements})
	if with.try {
		return nil
	}
	go func() { // a process that ends is noticed, also while no call is in flight
		<-r.proc.exited
		r.ends(&storage.Error{Code: storage.Unavailable, Msg: r.proc.ending()})
	}()
	r.transport = &grpcTransport{conn: r.conn, wire: &r.wire}
	if r.p.opts.Plain {
		return nil
	}
	var at abipb.AttachResponse
	switch err := r.conn.Invoke(ctx, abigrpc.MethodAttach, &abipb.AttachRequest{MaxFrame: uint32(r.p.opts.MaxFrame)}, &at); {
	case status.Code(err) == codes.Unimplemented:
		return nil
	case err != nil:
		r.wrong = "no data socket, using gRPC: " + firstLine(err.Error())
		return nil
	}
	client, err := r.attach(ctx, &at)
	if err != nil {
		return storage.Errorf(storage.Unavailable, "its data socket: %v", err)
	}
	r.transport = frameTransport{client}
	return nil
}

// attach connects to the data socket.
func (r *run) attach(ctx context.Context, at *abipb.AttachResponse) (*frames.Client, error) {
	if !filepath.IsAbs(at.Path) || len(at.Token) != abi.TokenSize {
		return nil, errors.New("expected an absolute path and a token of 32 bytes")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", at.Path)
	if err != nil {
		return nil, err
	}
	unix := conn.(*net.UnixConn)
	if err := frames.SameUser(unix); err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	if _, err := unix.Write(at.Token); err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	c, err := frames.NewConn(unix)
	if err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	// A plugin that reads nothing answers nothing either, which is noticed before.
	patience := 2 * min(r.p.opts.Call, time.Hour)
	return frames.NewClient(c, frames.ClientConfig{MaxFrame: r.p.opts.MaxFrame, Cancels: true, Patience: patience,
		Ended: func(err error) { r.ends(storage.AsError(err)) }}), nil
}

// frameReserve is what the head, the header and the wrapping of a message's parts
// may take of a frame.
const frameReserve = 16 << 10

// cause returns why a run is over: how the process has ended, if it was that which cut
// its connection.
func (r *run) cause() error {
	<-r.over
	if !cut(r.why) {
		return r.why
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-r.proc.exited:
		return &storage.Error{Code: storage.Unavailable, Msg: r.proc.ending()}
	case <-timer.C:
		return r.why
	}
}

// cut reports of a connection's error whether the plugin has closed it.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// killed reports whether something else than this host has killed the process (SIGKILL). If
// the process runs, it waits a moment for its end.
func (r *run) killed(ctx context.Context) bool {
	timer := time.NewTimer(2 * lastWords)
	defer timer.Stop()
	select {
	case <-r.proc.exited:
		return r.proc.killedByOthers()
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// kill ends the process now, or before it begins.
func (r *run) kill() { _ = r.proc.Kill(context.Background()) } // it is only waited for

// stop ends the process, with a word before if it still listens and there is time,
// and gives back all that it used. The backend was closed before.
func (r *run) stop(ctx context.Context) {
	wait := goneWithin
	select {
	case <-r.over: // it is lost
		wait = 0
	default:
	}
	if r.transport != nil {
		r.transport.close()
	}
	if r.proc.runs() {
		r.proc.end()
		timer := time.NewTimer(wait)
		select {
		case <-r.proc.exited:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	r.kill()
	r.client.Kill() // the process is gone: this is for what go-plugin holds
	if r.conn != nil {
		_ = r.conn.Close() // it fails only when it was closed before
	}
	r.p.leave(r.dir, r.mark)
}

// goneWithin limits how long a process may take to end after it was asked to.
const goneWithin = 2 * time.Second

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.ToValidUTF8(line[:min(len(line), 300)], "")
}

// kind is what go-plugin knows the service as.
type kind struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCClient returns the connection itself.
func (kind) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// GRPCServer fails: the plugin's side is not here.
func (kind) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves no plugins")
}

// shut has the plugin flush and close its backend.
func (r *run) shut(ctx context.Context) error {
	err := r.conn.Invoke(ctx, abigrpc.MethodClose, &abigrpc.Empty{}, &abigrpc.Empty{})
	switch e := abigrpc.FromStatus(err); {
	case err == nil || status.Code(err) == codes.Unimplemented:
		return nil
	case e != nil:
		return e
	case ctx.Err() != nil:
		return storage.Errorf(storage.Timeout, "not closed in time; the process is killed")
	}
	return storage.Errorf(storage.Unavailable, "Close failed: %s", firstLine(err.Error()))
}
