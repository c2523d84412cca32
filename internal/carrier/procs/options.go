package procs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// The times of a plugin where its Options say nothing.
const (
	DefaultStart = 10 * time.Second
	DefaultStop  = 10 * time.Second
	DefaultCall  = time.Minute
)

// scope is the instrumentation scope of what the carrier emits: dashboards know it by
// this name.
const scope = "github.com/plinthkv/plinth/host/procs"

// Options says how to run a plugin.
type Options struct {
	// Name is the plugin's name, for errors and logs.
	Name string
	// Command holds the executable and its arguments. One without a slash is looked up in the
	// host's PATH, once.
	Command []string
	// SHA256 holds the expected digest of the executable, in hex. It is optional. With it,
	// every argument that is the path of a file needs a digest in Files, because the digest of
	// an interpreter says nothing about its scripts.
	SHA256 string
	// Files holds the digests of other files that it runs, by path.
	Files map[string]string
	// Plaintext leaves the control connection without TLS, for plugins that do not
	// know go-plugin's. The socket is this user's alone either way.
	Plaintext bool
	// Plain asks over gRPC even where the plugin offers frames.
	Plain bool
	// Env holds the environment of the plugin, in addition to the variables of go-plugin.
	Env carrier.Env
	// Telemetry holds OpenTelemetry's declarative configuration for the plugin, passed in a
	// file that its variable OTEL_CONFIG_FILE names. It is optional.
	Telemetry []byte
	// Dir names the folder where its processes keep their files: each store has a folder of
	// its own in it, which is their working directory, and which no other host can open
	// meanwhile. If empty, the working directory is an empty one, removed afterwards.
	Dir string
	// Start bounds its start, Stop its flush and end, and Call the time without any answer
	// while calls are in flight, after which it counts as hanging. If zero, they have their
	// defaults; a negative Call means no limit.
	Start, Stop, Call time.Duration
	// MaxFrame bounds requests and answers, in bytes; by default abi.DefaultMaxFrame.
	MaxFrame int
	// Memory is the amount that the plugin is asked to use at most, in bytes. It is optional.
	Memory uint64
	// Limit limits the process's own memory, in bytes: the system refuses more. Zero means no
	// limit. It has an effect on Linux only.
	Limit uint64
	// Restart says what follows when the process is lost. RestartEmpty starts one again whose
	// state was lost with it.
	Restart      supervise.Policy
	RestartEmpty bool

	Log    *slog.Logger     // gets the plugin's records and output; by default slog.Default()
	Clock  func() time.Time // the host's; by default that of package clock
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

// Plugin starts an executable. It is safe for concurrent use.
type Plugin struct {
	logged supervise.LogRate // by all of its processes
	opts   Options
	path   string
	spans  *carrier.Spans

	mu   sync.Mutex
	left []string // folders of runs that could not be removed

	swept sync.Once
}

// New checks, without starting anything, that the executable exists, and that it and its
// files have their digests.
func New(o Options) (*Plugin, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if err := o.complete(); err != nil {
		return nil, o.wrap(err)
	}
	path, err := executable(o.Command[0])
	if err != nil {
		return nil, o.wrap(err)
	}
	p := &Plugin{opts: o, path: path}
	p.spans = carrier.NewSpans(o.Tracer, scope, "process", o.Name)
	if err := p.pinned(); err != nil {
		return nil, o.wrap(err)
	}
	return p, nil
}

// Scratch opens a backend of a process of its own, in an empty folder that goes with it. Nil
// without an error: the plugin is durable without a folder, and keeps its items elsewhere.
func (p *Plugin) Scratch(ctx context.Context, config json.RawMessage) (carrier.Backend, error) {
	o := p.opts
	o.Dir, o.Meter = "", nil
	b, err := (&Plugin{opts: o, path: p.path, spans: p.spans}).Open(ctx, "", config)
	if err != nil {
		return nil, err
	}
	if p.opts.Dir == "" && b.Info().Caps.Has(storage.CapDurable) {
		return nil, b.Close(ctx)
	}
	return b, nil
}

// Path returns the executable.
func (p *Plugin) Path() string { return p.path }

func (o *Options) complete() error {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return storage.Errorf(storage.InvalidArgument, "the command is empty")
	}
	for _, d := range []struct {
		v    *time.Duration
		def  time.Duration
		name string
	}{{&o.Start, DefaultStart, "start"}, {&o.Stop, DefaultStop, "stop"}, {&o.Call, DefaultCall, ""}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 && d.name != "" {
			return storage.Errorf(storage.InvalidArgument, "the time to %s is negative", d.name)
		}
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = abi.DefaultMaxFrame
	}
	if o.MaxFrame < 64<<10 || o.MaxFrame > 1<<30 {
		return storage.Errorf(storage.InvalidArgument, "max_frame is %d, it must be between 64 KiB and 1 GiB", o.MaxFrame)
	}
	if o.Limit != 0 {
		if err := canLimit(); err != nil {
			return err
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = o.Log.With("plugin", o.Name)
	if o.Clock == nil {
		o.Clock = clock.System().Now
	}
	return nil
}

func (o *Options) wrap(err error) error {
	var about *carrier.FieldError
	if errors.As(err, &about) {
		return &carrier.FieldError{Path: about.Path, Err: carrier.Wrap(o.Name, about.Err)}
	}
	return carrier.Wrap(o.Name, err)
}

// executable finds what a command names.
func executable(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, fs.ErrPermission) && noexec(name):
		return "", storage.Errorf(storage.InvalidArgument, "%s", onNoexec(name))
	case errors.Is(err, fs.ErrPermission):
		return "", storage.Errorf(storage.InvalidArgument, "%s is not executable", name)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", storage.Errorf(storage.InvalidArgument, "executable %s not found", name)
	case err != nil && !errors.Is(err, exec.ErrDot):
		return "", storage.Errorf(storage.InvalidArgument, "%s: %v", name, err)
	}
	return filepath.Abs(path)
}

// files returns what the plugin is made of: the executable, the arguments that are files, and
// those with a digest.
func (o *Options) files() carrier.Files {
	var paths []string
	for i, arg := range o.Command {
		if i == 0 {
			if path, err := exec.LookPath(arg); err == nil {
				arg = path
			}
		}
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
			paths = append(paths, arg)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(o.Files)) {
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return carrier.NoteFiles(paths...)
}

// pinned checks the digests of everything that is to be run. It is done before
// every start, by a new SecureConfig, which cannot be used twice.
func (p *Plugin) pinned() error {
	if err := check(p.path, p.opts.SHA256); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(p.opts.Files)) {
		if err := check(path, p.opts.Files[path]); err != nil {
			return err
		}
	}
	if p.opts.SHA256 == "" {
		return nil
	}
	for _, arg := range p.opts.Command[1:] {
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() && p.opts.Files[arg] == "" {
			return storage.Errorf(storage.InvalidArgument, "argument %s is a file with no digest in process.files", arg)
		}
	}
	return nil
}

func check(path, digest string) error {
	if digest == "" {
		return nil
	}
	want, err := hex.DecodeString(digest)
	if err != nil || len(want) != sha256.Size {
		return storage.Errorf(storage.InvalidArgument, "the digest of %s is not 64 hex digits", path)
	}
	h := sha256.New()
	ok, err := (&plugin.SecureConfig{Checksum: want, Hash: h}).Check(path)
	if err != nil {
		return storage.Errorf(storage.InvalidArgument, "the digest of %s: %v", path, err)
	}
	if !ok {
		return storage.Errorf(storage.InvalidArgument, "the SHA-256 of %s is %s, but the configuration requires %s", path, hex.EncodeToString(h.Sum(nil)), strings.ToLower(digest))
	}
	return nil
}
