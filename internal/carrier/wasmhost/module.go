package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// The limits of a module where its Options say nothing.
const (
	DefaultMemory = 64 << 20
	DefaultCall   = 2 * time.Second
	// MaxModule limits the size of a module, in bytes.
	MaxModule = 64 << 20
	// maxMemory is what a 32-bit module can address. The last page of it is never
	// given: wazero takes the size of a full memory for 0.
	maxMemory = 1 << 32
	pageSize  = 1 << 16
)

// Options configure a module.
type Options struct {
	// Name is the plugin's name, for errors and logs.
	Name string
	// SHA256 holds the digest that the module must have, in hex. It is optional.
	SHA256 string
	// Trusted runs the guest without interruption checks: loops are faster, but one that
	// does not end hangs the whole process. It requires SHA256, unless the module is
	// BuiltIn.
	Trusted, BuiltIn bool
	// Isolated means that a module without interruption checks runs in a separate process
	// and is not trusted: the cost of compiling it is bounded all the same.
	Isolated bool
	// Memory bounds the linear memory of an instance, in bytes. By default DefaultMemory.
	Memory uint64
	// Call bounds the time of one request. By default DefaultCall. Not with Trusted.
	Call time.Duration
	// MaxFrame limits requests and answers, in bytes. By default abi.DefaultMaxFrame.
	MaxFrame int
	// Env holds the environment of the guest.
	Env carrier.Env
	// OnLoss decides what happens when the instance of a guest is lost that is neither
	// durable nor stateless.
	OnLoss OnLoss
	// Restart configures how it is started again.
	Restart supervise.Policy
	// Lost receives the reason when an instance is lost, before anything else happens. It is
	// optional.
	Lost func(why error)
	// Log gets the guest's log and output. If nil, slog.Default().
	Log *slog.Logger
	// Clock is the host's clock. If nil, the clock of package clock.
	Clock func() time.Time
	// Tracer is the provider for spans of calls, Meter the one for metrics. If nil,
	// nothing is recorded.
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Stacks has the errors of traps say where in the guest they happened, for tests of
	// plugins.
	Stacks bool
	// TraceContext returns the W3C trace context of a call if it is not OpenTelemetry's.
	// It is optional.
	TraceContext func(context.Context) (traceparent, tracestate string)
}

// OnLoss decides what happens when an instance is lost whose state is not kept elsewhere.
type OnLoss uint8

const (
	// FailOnLoss leaves the backend failed, until an operator acts.
	FailOnLoss OnLoss = iota
	// RestartOnLoss starts again, empty, with a new incarnation.
	RestartOnLoss
)

// Module holds a compiled and checked plugin. It is safe for concurrent use.
type Module struct {
	opts   Options
	digest string
	*engine
	hasGet bool
	names  map[uint32]string // of functions, by number, if the errors of traps say them
	logged supervise.LogRate // by all of its instances

	spans      *carrier.Spans
	attributes []attribute.KeyValue // of everything that is emitted
}

// Load compiles binary and checks that it is a plugin, before any of its code runs.
// Errors are InvalidArgument and name what is missing or unsupported.
func (r *Runtime) Load(ctx context.Context, binary []byte, o Options) (_ *Module, err error) {
	if err := o.complete(); err != nil {
		return nil, o.wrap(err)
	}
	sum := sha256.Sum256(binary)
	m := &Module{opts: o, digest: hex.EncodeToString(sum[:]),
		attributes: []attribute.KeyValue{attribute.String("plinth.plugin", o.Name)}}
	m.spans = carrier.NewSpans(o.Tracer, scope, "wasm", o.Name)
	if want := strings.ToLower(o.SHA256); want != "" && want != m.digest {
		return nil, o.wrap(storage.Errorf(storage.InvalidArgument, "the module's SHA-256 is %s, but the configuration requires %s", m.digest, want))
	}
	if len(binary) > MaxModule {
		return nil, o.wrap(storage.LimitError(storage.SizeLimit, "module bytes", MaxModule, int64(len(binary))))
	}
	if len(binary) < 8 || string(binary[:4]) != "\x00asm" {
		return nil, o.wrap(storage.Errorf(storage.InvalidArgument, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"))
	}
	if string(binary[4:8]) != "\x01\x00\x00\x00" {
		return nil, o.wrap(storage.Errorf(storage.InvalidArgument, "WebAssembly components are not supported (version % x): build a core module (for example wasm32-wasip1)", binary[4:8]))
	}
	if o.Stacks {
		m.names = functionNames(binary)
	}
	if binary, err = guard(binary, !o.Trusted, o.Isolated); err != nil {
		return nil, o.wrap(err)
	}
	if m.engine, err = r.compile(ctx, binary, &o); err != nil {
		if strings.Contains(err.Error(), "section memory: min") {
			return nil, o.wrap(storage.Errorf(storage.InvalidArgument, "limits.memory is %d bytes, but the module starts with more: %v", o.Memory, err))
		}
		return nil, o.wrap(storage.Errorf(storage.InvalidArgument, "compile module: %v", err))
	}
	defer func() {
		if err != nil {
			_ = m.engine.close(ctx) // a part of it is of no use
		}
	}()
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, o.wrap(err)
	}
	if err := m.check(m.runtime.Module(wasi_snapshot_preview1.ModuleName).ExportedFunctionDefinitions()); err != nil {
		return nil, o.wrap(err)
	}
	if err := m.provideImports(ctx); err != nil {
		return nil, o.wrap(err)
	}
	return m, nil
}

// complete checks o and fills in defaults.
func (o *Options) complete() error {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Memory > maxMemory {
		return storage.LimitError(storage.InvalidArgument, "memory", maxMemory, int64(min(o.Memory, math.MaxInt64)))
	}
	o.Memory = min((o.Memory+pageSize-1)/pageSize*pageSize, maxMemory-pageSize)
	if o.MaxFrame == 0 {
		o.MaxFrame = abi.DefaultMaxFrame
	}
	if o.MaxFrame < 64<<10 || o.MaxFrame > 1<<30 {
		return storage.Errorf(storage.InvalidArgument, "max_frame is %d, it must be between 64 KiB and 1 GiB", o.MaxFrame)
	}
	switch {
	case o.Trusted && o.SHA256 == "" && !o.BuiltIn:
		return storage.Errorf(storage.InvalidArgument, "trust requires sha256")
	case o.Trusted && o.Call != 0:
		return storage.Errorf(storage.InvalidArgument, "trust: trusted cannot be combined with limits.call: trusted modules are not interruptible")
	case o.Call < 0:
		return storage.Errorf(storage.InvalidArgument, "limits.call must not be negative")
	case !o.Trusted && o.Call == 0:
		o.Call = DefaultCall
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

func (o *Options) wrap(err error) error { return carrier.Wrap(o.Name, err) }

// Digest returns the SHA-256 of the module's bytes, in hex.
func (m *Module) Digest() string { return m.digest }

// Close releases the module. Close every Backend before.
func (m *Module) Close(ctx context.Context) error { return m.engine.close(ctx) }
