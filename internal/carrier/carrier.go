package carrier

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The kinds of carriers.
const (
	Wasm    = "wasm"    // a module in this process
	Process = "process" // a process of its own
	Remote  = "remote"  // another host, over gRPC
	Native  = "native"  // Go that this program has linked in
)

// Carrier runs or reaches one plugin. It is safe for concurrent use.
type Carrier interface {
	// Kind returns how its backends are reached: [Wasm] and the like.
	Kind() string
	// Shared reports whether others may write to its backends without going through this
	// host.
	Shared() bool
	// Open makes the backend of a store. An error about the backend's own configuration
	// has the field in its ConfigPath; one about the plugin is a [FieldError].
	Open(ctx context.Context, store string, config Config) (Backend, error)
	// Close releases the plugin. Its backends must be closed before.
	Close(ctx context.Context) error
}

// Trier judges a configuration without opening anything that another host may have open.
type Trier interface {
	// Try returns what a backend with the configuration would be. If the error is
	// Unsupported, the plugin does not know.
	Try(ctx context.Context, config Config) (storage.Info, error)
}

// Foldered is a carrier whose plugin may be granted a folder.
type Foldered interface {
	// HasFolder reports whether its backends keep files, each store's in a folder of its own.
	HasFolder() bool
}

// Backend is a backend whose carrier detects the loss of its state.
type Backend interface {
	storage.Backend
	// WhenLost registers f to be called as soon as state was lost. f must not call the
	// backend.
	WhenLost(f func())
}

// Supervised reports the state of a backend's plugin.
type Supervised interface {
	Status() supervise.Status
}

// Decoder decodes a part of a configuration strictly over the defaults in v, a pointer to a
// struct.
type Decoder interface {
	Decode(v any) error
}

// Config is the plugin's own configuration of a backend.
type Config interface {
	Decoder
	JSON() (json.RawMessage, error)
}

// Plugin holds the argument of a carrier.
type Plugin struct {
	Name   string
	Config Decoder             // its entry in the configuration
	Module []byte              // of a built-in module; nil if it has a file
	Linked *Linked             // of a linked-in one, or nil
	Path   func(string) string // a path of the configuration, from the folder of its file

	Settings
}

// Linked describes a linked-in backend in Go.
type Linked struct {
	Open sdk.Opener
	// Try judges a configuration without opening anything. It is optional.
	Try func(ctx context.Context, env sdk.Env) (storage.Info, error)
	// Shared reports that others may write to its backends without going through this
	// host.
	Shared bool
	// Isolated makes it run as a process by default.
	Isolated bool
	// Serve serves it in its process to the host that started that. By default Open and
	// Try are served.
	Serve func()
	// Secrets lists the paths of secrets in its configuration.
	Secrets []string
}

// Settings holds a host's settings for all of its carriers.
type Settings struct {
	CacheDir  string   // where compiled modules are kept, or empty
	Worker    []string // the command of a worker program, or empty
	Telemetry []byte   // OpenTelemetry's configuration, for plugins to which it is granted

	Log    *slog.Logger
	Clock  func() time.Time
	Tracer trace.TracerProvider // nil means no spans
	Meter  metric.MeterProvider // nil means no metrics
}

// WorkerVariable names the variable that makes a program a worker, and says which.
const WorkerVariable = "PLINTH_WORKER"

// Factory makes the carriers of one kind.
type Factory interface {
	// Key returns the setting that identifies a plugin of this kind. It is empty for
	// linked-in plugins, which are identified by their name.
	Key() string
	// Isolated reports whether this kind is that of the key with isolation: process.
	Isolated() bool
	// Noun returns the word for a plugin of this kind.
	Noun() string
	// Defaults returns the defaults of a configuration, a struct.
	Defaults() any
	// New makes a carrier. An error about a setting is p.Config's own, or has the
	// setting in its ConfigPath.
	New(ctx context.Context, p Plugin) (Carrier, error)
}

// NewFactory returns the factory of a kind, whose configuration is decoded over defaults
// and passed to build.
func NewFactory[C any](key string, isolated bool, noun string, defaults C, build func(context.Context, Plugin, C) (Carrier, error)) Factory {
	return &factory[C]{key, isolated, noun, defaults, build}
}

type factory[C any] struct {
	key      string
	isolated bool
	noun     string
	defaults C
	build    func(context.Context, Plugin, C) (Carrier, error)
}

func (f *factory[C]) Key() string    { return f.key }
func (f *factory[C]) Isolated() bool { return f.isolated }
func (f *factory[C]) Noun() string   { return f.noun }
func (f *factory[C]) Defaults() any  { return f.defaults }

func (f *factory[C]) New(ctx context.Context, p Plugin) (Carrier, error) {
	c := f.defaults
	if err := p.Config.Decode(&c); err != nil {
		return nil, err
	}
	return f.build(ctx, p, c)
}

// FieldError reports an error about a setting of a plugin.
type FieldError struct {
	Path string // of the setting, in the plugin's entry; empty for the entry itself
	Err  error
}

// Error returns the message.
func (e *FieldError) Error() string { return e.Err.Error() }

// Unwrap returns the error without its place.
func (e *FieldError) Unwrap() error { return e.Err }

// ConfigPath returns the setting.
func (e *FieldError) ConfigPath() string { return e.Path }

// Fieldf returns the FieldError of a setting.
func Fieldf(path, format string, args ...any) error {
	return &FieldError{path, fmt.Errorf(format, args...)}
}
