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

// Option changes how a configuration is loaded, or configures the host over it.
type Option func(*options)

type options struct {
	config    config.Options
	host      host.Settings
	factories []wrappers.Factory
}

// WithEnviron sets the environment, in the form of os.Environ, that the configuration may
// refer to and that overrides it. By default it is empty.
func WithEnviron(environ []string) Option { return func(o *options) { o.config.Environ = environ } }

// WithContent sets the content of the file. Its path is then only a name.
func WithContent(yaml []byte) Option { return func(o *options) { o.config.Content = yaml } }

// WithValues sets the content of the file as Go values: see [config.Options].
func WithValues(values map[string]any) Option {
	return func(o *options) { o.config.Values = values }
}

// WithOverrides sets single values by dotted path, over file and environment.
func WithOverrides(values map[string]string) Option {
	return func(o *options) { o.config.Flags = values }
}

// WithLogger sets the logger of the host and its plugins. By default slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.host.Log = l } }

// WithTracerProvider sets the provider for spans. By default no spans are recorded.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) { o.host.Tracer = p }
}

// WithMeterProvider sets the provider for metrics. By default no metrics are recorded.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) { o.host.Meter = p }
}

// WithWrappers adds kinds of wrappers that pipelines may name.
func WithWrappers(f ...wrappers.Factory) Option {
	return func(o *options) { o.factories = append(o.factories, f...) }
}

// WithCacheDir caches compiled plugins between runs in a directory, which must be private
// to this user. By default they are compiled at every start.
func WithCacheDir(dir string) Option { return func(o *options) { o.host.CacheDir = dir } }

// WithWorker sets the command of a program that runs plugins with isolation: process,
// each in a separate process. Its main must begin with [RunWorker]; it may be this
// program or plinth. Without it, that isolation is refused.
func WithWorker(command ...string) Option { return func(o *options) { o.host.Worker = command } }

// WithModule makes a WebAssembly module the plugin of that name, without a file and
// without an entry in the configuration. The module is trusted: its calls are not
// interrupted unless limits.call is set.
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
// configuration. open is the opener of a plugin in any carrier. The backend runs in this
// process; a panic in a call ends its instance, not the host. If the option is given
// twice for a name, the last one counts.
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

// BackendOption configures a backend that [WithBackend] links in.
type BackendOption func(*host.Linked)

// Shared means that others may write to the backend's data without going through this
// host.
func Shared() BackendOption { return func(l *host.Linked) { l.Shared = true } }

// Isolated runs the backend in a separate process by default, with the program that
// [WithWorker] names.
func Isolated() BackendOption { return func(l *host.Linked) { l.Isolated = true } }

// TriedBy sets a function that judges a configuration without opening what it names, for
// [WithTrial]. Without it, a trial cannot report what the backend would be. See
// [sdk.TryByOpening] for a backend that keeps nothing outside its process.
func TriedBy(try func(context.Context, sdk.Env) (storage.Info, error)) BackendOption {
	return func(l *host.Linked) { l.Try = try }
}

// ServedBy sets a function by which the worker serves the backend; it must end with Serve
// of sdk/process. By default the worker serves the functions that open and try it here.
func ServedBy(serve func()) BackendOption { return func(l *host.Linked) { l.Serve = serve } }

// Secrets marks settings of a backend as secrets: the fields of config, the struct of its
// configuration, with the tag `secret:"true"`. Neither [config.Config.YAML] nor errors
// show them. Without it, secrets are recognized by their names and their form, such as a
// password in a URL.
func Secrets(config any) BackendOption {
	return func(l *host.Linked) { l.Secrets = sdk.Secrets(config) }
}

// WithPluginTelemetry sets the OpenTelemetry declarative configuration for the spans of
// plugins that run as processes. It is passed only to those with grants: { telemetry:
// true }, and to those that [WithBackend] links in. By default they export no spans of
// their own.
func WithPluginTelemetry(yaml []byte) Option {
	return func(o *options) { o.host.PluginTelemetry = yaml }
}

// WithTrial makes Open judge a configuration without opening anything that a running host
// may have open, as "plinth check" does: see [host.Settings].
func WithTrial() Option { return func(o *options) { o.host.Trial = true } }

// WithClock sets the host's clock, by which items expire. By default time.Now.
func WithClock(now func() time.Time) Option { return func(o *options) { o.host.Clock = now } }

// WithKit sets the conformance kit for plugins with gate: full, which package plugintest
// runs before a reload uses a new version. Without it, gate: full refuses every new
// version.
func WithKit(kit func(context.Context, host.Subject) error) Option {
	return func(o *options) { o.host.Kit = kit }
}

// Open builds a host from the configuration file at path. An empty path is the built-in
// default: one store, "default", in memory. All errors of the configuration are returned
// at once, each with its position. The caller closes the host.
func Open(ctx context.Context, path string, opts ...Option) (*Host, error) {
	cfg, err := Load(path, opts...)
	if cfg == nil {
		return nil, err
	}
	return OpenConfig(ctx, cfg, opts...)
}

// Load reads and checks the configuration that Open would open, for programs that also
// use it for something else, or before the host. If the configuration is readable but
// invalid, Load returns it along with the errors, and OpenConfig returns those together
// with the host's errors.
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

// OpenConfig opens a host like Open, with a configuration from [Load] or [config.Load]. It
// ignores options about the source of a configuration.
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

// Wrappers returns the kinds of wrappers that every host has.
func Wrappers() []wrappers.Factory {
	return []wrappers.Factory{otel.Factory(), sizelimits.Factory(), ratelimit.Factory(), cache.Factory(), batch.Factory(),
		retry.Factory(), timeout.Factory(), circuitbreaker.Factory(), readonly.Factory(), prefix.Factory(), faults.Factory()}
}

// collect returns what opts say, over what every host has: memory, linked in.
func collect(opts []Option) options {
	var o options
	WithBackend("memory", memory.Open, TriedBy(sdk.TryByOpening(memory.Open)))(&o)
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// RunWorker runs the worker that [WithWorker] names, if this process was started as one,
// and does not return then. Call it first in main, with the same [WithModule] and
// [WithBackend] options as the host.
func RunWorker(opts ...Option) {
	o := collect(opts)
	native.Run(o.host.Backends)
	isolate.Run(o.host.Modules)
}
