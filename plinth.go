package plinth

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/native"
	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/circuitbreaker"
	"github.com/plinthkv/plinth/wrappers/faults"
	"github.com/plinthkv/plinth/wrappers/prefix"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
	"github.com/plinthkv/plinth/wrappers/readonly"
	"github.com/plinthkv/plinth/wrappers/retry"
	"github.com/plinthkv/plinth/wrappers/sizelimits"
	"github.com/plinthkv/plinth/wrappers/timeout"
)

// Option changes how a configuration is loaded, and what a host over it has.
type Option func(*options)

type options struct {
	config    config.Options
	host      host.Settings
	factories []wrappers.Factory
}

// WithEnviron gives the environment that the configuration may refer to and that
// overrides it, as os.Environ does. Without it there is none.
func WithEnviron(environ []string) Option { return func(o *options) { o.config.Environ = environ } }

// WithContent is what the file would hold; its path then only names it.
func WithContent(yaml []byte) Option { return func(o *options) { o.config.Content = yaml } }

// WithValues is what the file would hold, made in Go: see [config.Options].
func WithValues(values map[string]any) Option {
	return func(o *options) { o.config.Values = values }
}

// WithOverrides sets single values by dotted path, over file and environment.
func WithOverrides(values map[string]string) Option {
	return func(o *options) { o.config.Flags = values }
}

// WithLogger is where the host and its plugins log. Without it, slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.host.Log = l } }

// WithTracerProvider is where spans go. Without it, nowhere.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.host.Tracer = p }
}

// WithMeterProvider is where metrics go. Without it, nowhere.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.host.Meter = p }
}

// WithWrappers adds kinds of wrappers that pipelines may name.
func WithWrappers(f ...wrappers.Factory) Option {
	return func(o *options) { o.factories = append(o.factories, f...) }
}

// WithCacheDir keeps compiled plugins between runs. The directory must be this
// user's alone. Without it they are compiled at every start.
func WithCacheDir(dir string) Option { return func(o *options) { o.host.CacheDir = dir } }

// WithWorker is the command of a program that runs plugins with isolation: process, each
// in a process of its own: one whose main begins with [RunWorker], this one or plinth
// itself. Without it that isolation is refused.
func WithWorker(command ...string) Option { return func(o *options) { o.host.Worker = command } }

// WithModule makes a WebAssembly module the plugin of that name, without a file and an
// entry in the configuration. It is trusted: a call of it is not interrupted unless
// limits.call is set.
func WithModule(name string, wasm []byte) Option {
	return func(o *options) {
		if o.host.Modules == nil {
			o.host.Modules = map[string][]byte{}
		}
		o.host.Modules[name] = wasm
		delete(o.host.Backends, name)
	}
}

// WithBackend makes a backend in Go the plugin of that name, without an entry in the
// configuration: open is what a plugin in any carrier has. It runs in this process, where
// a panic of a call is the end of the backend's instance and not of the host. The option
// given last for a name counts.
func WithBackend(name string, open sdk.Opener, opts ...BackendOption) Option {
	return func(o *options) {
		if o.host.Backends == nil {
			o.host.Backends = map[string]*host.Linked{}
		}
		l := &host.Linked{Open: open}
		for _, opt := range opts {
			opt(l)
		}
		o.host.Backends[name] = l
		delete(o.host.Modules, name)
	}
}

// BackendOption says more of a backend that [WithBackend] links in.
type BackendOption func(*host.Linked)

// Shared says that others may write to the backend's data, past this host.
func Shared() BackendOption { return func(l *host.Linked) { l.Shared = true } }

// Isolated has the backend run in a process of its own where its configuration does not
// say otherwise: the program that [WithWorker] names.
func Isolated() BackendOption { return func(l *host.Linked) { l.Isolated = true } }

// TriedBy judges a configuration without opening what it names, for [WithTrial]; without
// it, a trial cannot tell what the backend would be. See [sdk.TryByOpening]
// for one that keeps nothing elsewhere.
func TriedBy(try func(context.Context, sdk.Env) (storage.Info, error)) BackendOption {
	return func(l *host.Linked) { l.Try = try }
}

// ServedBy is how the worker serves the backend, which has to end with Serve of
// sdk/process. Without it, it serves what was opened and tried here.
func ServedBy(serve func()) BackendOption { return func(l *host.Linked) { l.Serve = serve } }

// Secrets says which settings of a backend are secrets: the fields of config, the struct
// that its configuration is decoded into, that are tagged `secret:"true"`. They are shown
// neither by [config.Config.YAML] nor in errors. Without it, secrets are known by their
// names and their form, such as a password in a URL.
func Secrets(config any) BackendOption {
	return func(l *host.Linked) { l.Secrets = sdk.Secrets(config) }
}

// WithPluginTelemetry is OpenTelemetry's declarative configuration for plugins that run
// as processes, and for those alone that grants: { telemetry: true } is said of, or that
// [WithBackend] links in: their spans go where it says. Without it they have none of
// their own.
func WithPluginTelemetry(yaml []byte) Option {
	return func(o *options) { o.host.PluginTelemetry = yaml }
}

// WithTrial has Open judge a configuration without opening what a running host may have
// open, as "plinth check" does: see [host.Settings].
func WithTrial() Option { return func(o *options) { o.host.Trial = true } }

// WithClock is the host's clock, by which items expire. Without it, time.Now.
func WithClock(now func() time.Time) Option { return func(o *options) { o.host.Clock = now } }

// WithKit tries a plugin with gate: full before a reload puts a store on a new version of it,
// by the conformance kit, which package plugintest runs. Without it, gate: full refuses every
// new version.
func WithKit(kit func(context.Context, host.Subject) error) Option {
	return func(o *options) { o.host.Kit = kit }
}

// Open builds what the configuration file at path says; an empty path is the
// built-in default: one store, "default", in memory. Errors of the configuration
// come all at once, each with its position. The caller closes the host.
func Open(ctx context.Context, path string, opts ...Option) (*Host, error) {
	cfg, err := Load(path, opts...)
	if cfg == nil {
		return nil, err
	}
	return OpenConfig(ctx, cfg, opts...)
}

// Load reads and checks the configuration that Open would open, for programs that need
// it for more than the host, or before it. If the configuration can be read and is wrong,
// it comes with the errors, and OpenConfig returns them with all that the host finds.
func Load(path string, opts ...Option) (*config.Config, error) {
	o := collect(opts)
	o.config.File = path
	o.config.BuiltIn = slices.Concat(slices.Collect(maps.Keys(o.host.Backends)), slices.Collect(maps.Keys(o.host.Modules)))
	o.config.Secrets = map[string][]string{}
	for name, l := range o.host.Backends {
		o.config.Secrets[name] = l.Secrets
	}
	return config.Load(o.config)
}

// OpenConfig is Open with a configuration that is loaded already, by [Load] or
// [config.Load]. Options that say where a configuration comes from change nothing.
func OpenConfig(ctx context.Context, cfg *config.Config, opts ...Option) (*Host, error) {
	o := collect(opts)
	var err error
	o.host.Registry, err = wrappers.NewRegistry(append(Wrappers(), o.factories...)...)
	if err != nil {
		return nil, err
	}
	h, err := host.Open(ctx, cfg, o.host) // also to find all errors at once
	if err = config.Join(cfg.Err(), err); err != nil {
		if h != nil {
			err = errors.Join(err, h.Close(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	return &Host{h}, nil
}

// Wrappers are the kinds that every host knows.
func Wrappers() []wrappers.Factory {
	return []wrappers.Factory{otel.Factory(), sizelimits.Factory(), ratelimit.Factory(), cache.Factory(), batch.Factory(),
		retry.Factory(), timeout.Factory(), circuitbreaker.Factory(), readonly.Factory(), prefix.Factory(), faults.Factory()}
}

// collect is what opts say, over what every host has: memory, linked in.
func collect(opts []Option) options {
	var o options
	WithBackend("memory", memory.Open, TriedBy(sdk.TryByOpening(memory.Open)))(&o)
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// RunWorker is the worker that [WithWorker] names, if this process was started as one:
// then it does not return. It belongs at the very begin of main. What it may have to run
// it is told by the same [WithModule] and [WithBackend] as the host.
func RunWorker(opts ...Option) {
	o := collect(opts)
	native.Run(o.host.Backends)
	isolate.Run(o.host.Modules)
}
