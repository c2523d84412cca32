package wrappers

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
)

// Decoder decodes a part of a configuration strictly over the defaults in v, a pointer to a
// struct: unknown and repeated keys, wrong types and bad values are errors. config.Node is
// one.
type Decoder interface {
	Decode(v any) error
}

// Settings holds what the host passes to a wrapper in addition to its configuration.
type Settings struct {
	Store string           // the store's name
	Stage string           // the stage's name in it
	Clock func() time.Time // the host's clock, which never goes back
	Log   *slog.Logger
	Hub   Watchable // the writes to the backend at the bottom, as this stage names their keys

	// Before holds the wrapper of the same kind, name and configuration that this one replaces
	// in a running host, or nil. It may still serve calls. The new wrapper takes over its
	// knowledge of callers and of the backend, such as the counts of a rate limit.
	Before storage.Backend

	Tracer trace.TracerProvider // provider for spans; if nil, no spans are recorded
	Meter  metric.MeterProvider // provider for metrics; if nil, no metrics are recorded
}

// Factory builds the wrappers of one kind.
type Factory interface {
	Kind() string
	// Defaults returns the struct that a configuration is decoded over. Its fields are the
	// settings that YAML may contain.
	Defaults() any
	// Declaration returns the declaration that holds for every wrapper of the kind.
	Declaration() Declaration
	// Declare returns the declaration of the wrapper that Build makes from config over b. If
	// config cannot be decoded, it returns the same as Declaration.
	Declare(config Decoder, b Below) Declaration
	// Build decodes config and wraps next. Errors of the configuration are those of config.
	Build(next storage.Backend, config Decoder, s Settings) (storage.Backend, error)
}

// NewFactory returns the factory of a kind. It decodes config over defaults, calls its
// Validate method if it has one, and passes it to build. If config has the method
// Declare(Below, *Declaration), that method completes d for the settings in config.
func NewFactory[C any](kind string, d Declaration, defaults func() C, build func(next storage.Backend, c C, s Settings) (storage.Backend, error)) Factory {
	return &factory[C]{kind, d, defaults, build}
}

type factory[C any] struct {
	kind     string
	declares Declaration
	defaults func() C
	build    func(storage.Backend, C, Settings) (storage.Backend, error)
}

func (f *factory[C]) Kind() string             { return f.kind }
func (f *factory[C]) Defaults() any            { return f.defaults() }
func (f *factory[C]) Declaration() Declaration { return f.declares }

func (f *factory[C]) Declare(config Decoder, b Below) Declaration {
	d, c := f.declares, f.defaults()
	if config != nil && config.Decode(&c) != nil {
		return d
	}
	if more, ok := any(c).(interface{ Declare(Below, *Declaration) }); ok {
		d.Changes, d.Never, d.Warnings = slices.Clone(d.Changes), slices.Clone(d.Never), slices.Clone(d.Warnings)
		more.Declare(b, &d)
	}
	return d
}

func (f *factory[C]) Build(next storage.Backend, config Decoder, s Settings) (storage.Backend, error) {
	c := f.defaults()
	if config != nil {
		if err := config.Decode(&c); err != nil {
			return nil, err
		}
	}
	if v, ok := any(c).(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	if missing := f.declares.Needs &^ next.Info().Caps; missing != 0 {
		return nil, storage.Errorf(storage.Unsupported, "%s needs the capability %s, which is missing below it", f.kind, missing)
	}
	return f.build(next, c, s)
}

// Registry holds the wrappers that a configuration may name. It is a value: each embedder
// creates its own. The zero value is empty.
type Registry struct{ kinds map[string]Factory }

// NewRegistry returns a registry of factories. Two factories of one kind are an error.
func NewRegistry(factories ...Factory) (*Registry, error) {
	r := &Registry{kinds: map[string]Factory{}}
	var errs []error
	for _, f := range factories {
		if _, twice := r.kinds[f.Kind()]; twice {
			errs = append(errs, fmt.Errorf("two wrappers are called %q", f.Kind()))
		}
		r.kinds[f.Kind()] = f
	}
	return r, errors.Join(errs...)
}

// Lookup returns the factory of a kind, and reports whether there is one.
func (r *Registry) Lookup(kind string) (Factory, bool) {
	f, ok := r.kinds[kind]
	return f, ok
}

// Kinds returns the names of all kinds, sorted.
func (r *Registry) Kinds() []string { return slices.Sorted(maps.Keys(r.kinds)) }

// FieldError reports an invalid value in a wrapper's configuration. A decoder that knows
// positions reports it at the position of the field.
type FieldError struct{ Path, Msg string }

// Error returns the path and the message.
func (e *FieldError) Error() string { return e.Path + ": " + e.Msg }

// ConfigPath returns the path of the field.
func (e *FieldError) ConfigPath() string { return e.Path }

// Fieldf returns a FieldError of path.
func Fieldf(path, format string, args ...any) error {
	return &FieldError{path, fmt.Sprintf(format, args...)}
}
