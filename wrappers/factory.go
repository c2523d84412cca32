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

// Decoder is a part of a configuration that decodes itself strictly over the
// defaults in v, a pointer to a struct: unknown and repeated keys, wrong types
// and bad values are errors. config.Node is one.
type Decoder interface {
	Decode(v any) error
}

// Settings are what the host hands to a wrapper beside its configuration.
type Settings struct {
	Store string           // the store's name
	Stage string           // the stage's name in it
	Clock func() time.Time // the host's clock, which never goes back
	Log   *slog.Logger
	Hub   Watchable // the writes to the backend at the bottom, as this stage names their keys

	// Before is the wrapper of the same kind, name and configuration that this one takes the
	// place of, while the host goes on; nil: there is none. It may still serve calls. What a
	// wrapper knows of its callers and of the backend it takes from there, such as what a rate
	// limit has counted.
	Before storage.Backend

	Tracer trace.TracerProvider // where spans go; nil: nowhere
	Meter  metric.MeterProvider // where metrics go; nil: nowhere
}

// Factory makes the wrappers of one kind.
type Factory interface {
	Kind() string
	// Defaults are what a configuration is decoded over, a struct: its fields are
	// what YAML may hold.
	Defaults() any
	// Declaration is what holds for every wrapper of the kind.
	Declaration() Declaration
	// Declare is what holds for the one that Build makes of config over what is
	// below. Of a configuration that does not decode it says what always holds.
	Declare(config Decoder, b Below) Declaration
	// Build decodes config and puts a wrapper over next. An error of the
	// configuration is config's own.
	Build(next storage.Backend, config Decoder, s Settings) (storage.Backend, error)
}

// NewFactory is the factory of a kind: config is decoded over defaults, checked
// by its Validate method if it has one, and handed to build. A config with the
// method Declare(Below, *Declaration) says by it what more is true of d as it is
// configured.
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

// Registry is the wrappers that a configuration may name. It is a value: an
// embedder makes one of its own. The zero value is empty.
type Registry struct{ kinds map[string]Factory }

// NewRegistry holds the factories given. Two of one kind are an error.
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

// Lookup is the factory of a kind.
func (r *Registry) Lookup(kind string) (Factory, bool) {
	f, ok := r.kinds[kind]
	return f, ok
}

// Kinds are the names of all, sorted.
func (r *Registry) Kinds() []string { return slices.Sorted(maps.Keys(r.kinds)) }

// FieldError is a bad value in a wrapper's configuration. A decoder that knows
// positions reports it at the field's.
type FieldError struct{ Path, Msg string }

// Error is the path and what is wrong with it.
func (e *FieldError) Error() string { return e.Path + ": " + e.Msg }

// ConfigPath is the field.
func (e *FieldError) ConfigPath() string { return e.Path }

// Fieldf is the FieldError of path.
func Fieldf(path, format string, args ...any) error {
	return &FieldError{path, fmt.Sprintf(format, args...)}
}
