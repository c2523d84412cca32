package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// Config configures a plugin that is a WebAssembly module.
type Config struct {
	Wasm   string `yaml:"wasm"`   // path of the module, relative to the folder of the configuration file
	SHA256 string `yaml:"sha256"` // SHA-256 of the module, 64 hex digits; optional
	Trust  string `yaml:"trust"`  // "trusted": never interrupted, which requires sha256 and excludes limits.call; by default, calls that run too long are interrupted
	// Isolation is "none" (the default) for the process of the host, or "process" for a
	// separate process, which can be killed and does not affect others when it fails.
	Isolation string `yaml:"isolation"`
	Limits    Limits `yaml:"limits"` // limits of its resources
	Grants    Grants `yaml:"grants"` // access to its surroundings

	carrier.Loss `yaml:",inline"`
	carrier.Gate `yaml:",inline"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Limits: Limits{MaxFrame: abi.DefaultMaxFrame}, Loss: carrier.DefaultLoss()}
}

// Limits bounds the resources of a module.
type Limits struct {
	Memory   uint64        `yaml:"memory,bytes"`    // linear memory of an instance; if zero, 64MiB, or 2GiB for a built-in module
	Call     time.Duration `yaml:"call"`            // time of one call before it is interrupted; if zero, 2s, or no limit for a trusted or built-in module; in a separate process: how long it may leave all calls without an answer before it is killed
	MaxFrame int           `yaml:"max_frame,bytes"` // size of one message between host and plugin
}

// Grants are the granted resources of a module; by default none.
type Grants struct {
	Env carrier.Env `yaml:"env"` // environment variables, at most 1,024
}

// Validate checks the names.
func (g *Grants) Validate() error { return g.Env.Check("env") }

// Validate checks what belongs together.
func (c *Config) Validate() error {
	errs := []error{carrier.CheckDigest("sha256", c.SHA256), carrier.CheckIsolation(c.Isolation), c.Loss.Validate(), c.Gate.Validate()}
	switch c.Trust {
	case "":
	case "trusted":
		if c.SHA256 == "" {
			errs = append(errs, carrier.Fieldf("trust", "requires sha256, because a trusted module is not interruptible"))
		}
		if c.Limits.Call != 0 {
			errs = append(errs, carrier.Fieldf("limits.call", "cannot be combined with trust: trusted modules are not interruptible"))
		}
	default:
		errs = append(errs, carrier.Fieldf("trust", "must be trusted, or omitted"))
	}
	if c.Isolation == "process" && c.Trust != "" {
		errs = append(errs, carrier.Fieldf("isolation", "cannot be combined with trust: a module in a separate process is killed instead of interrupted"))
	}
	return errors.Join(errs...)
}

// CheckBuiltIn refuses settings that a built-in module does not support.
func (c *Config) CheckBuiltIn(name string) error {
	var errs []error
	for _, f := range []struct {
		name string
		set  bool
	}{{"sha256", c.SHA256 != ""}, {"trust", c.Trust != ""}, {"grants.env", c.Grants.Env != nil}} {
		if f.set {
			errs = append(errs, carrier.Fieldf(f.name, "cannot be set: %s is built in, and supports only limits, on_loss, isolation and restart", name))
		}
	}
	return errors.Join(errs...)
}

// BuiltInMemory is the linear memory of a built-in module, in bytes: reserved as address
// space, and used as needed.
const BuiltInMemory = 2 << 30

// Factory makes the carriers of modules that run in r.
func (r *Runtime) Factory() carrier.Factory {
	return carrier.NewFactory("wasm", false, "module", DefaultConfig(), r.carry)
}

// options returns those of a module that is configured so.
func (c *Config) options(p carrier.Plugin) Options {
	o := Options{
		Name: p.Name, SHA256: c.SHA256, Trusted: c.Trust == "trusted", Memory: c.Limits.Memory, Call: c.Limits.Call, MaxFrame: c.Limits.MaxFrame,
		Env: c.Grants.Env, Log: p.Log, Clock: p.Clock, Tracer: p.Tracer, Meter: p.Meter, Restart: c.Restart.Policy(),
	}
	if c.Restarts() {
		o.OnLoss = RestartOnLoss
	}
	return o
}

func (r *Runtime) carry(ctx context.Context, p carrier.Plugin, c Config) (carrier.Carrier, error) {
	o := c.options(p)
	binary := p.Module
	var files carrier.Files
	if binary == nil {
		files = carrier.NoteFiles(p.Path(c.Wasm))
		var err error
		if binary, err = ReadModule(p.Path(c.Wasm)); err != nil {
			return nil, &carrier.FieldError{Path: "wasm", Err: err}
		}
	} else {
		if err := c.CheckBuiltIn(p.Name); err != nil {
			return nil, err
		}
		o.BuiltIn, o.Trusted = true, o.Call == 0
		if o.Memory == 0 {
			o.Memory = BuiltInMemory
		}
	}
	m, err := r.Load(ctx, binary, o)
	if err != nil {
		return nil, &carrier.FieldError{Err: err}
	}
	return carried{m, files, c.Gate.Gate, c.Grants.Env}, nil
}

// carried is a module as a carrier.
type carried struct {
	m *Module
	carrier.Files
	gate string
	env  carrier.Env
}

func (carried) Kind() string                      { return carrier.Wasm }
func (carried) Shared() bool                      { return false }
func (c carried) Digest() string                  { return c.m.Digest() }
func (c carried) Close(ctx context.Context) error { return c.m.Close(ctx) }

func (c carried) Open(ctx context.Context, store string, config carrier.Config) (carrier.Backend, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	return c.m.OpenFor(ctx, store, raw)
}

// Gate returns what a new module has to pass.
func (c carried) Gate() string { return c.gate }

// Subject returns the module.
func (c carried) Subject(config carrier.Config) (carrier.Subject, error) {
	raw, err := config.JSON()
	s := carrier.Subject{Name: c.m.opts.Name, Env: c.env.Reveal(), Config: raw, Memory: c.m.opts.Memory}
	if paths := c.Paths(); len(paths) > 0 {
		s.Module = paths[0]
	}
	return s, err
}

// Scratch opens an instance of its own: a module keeps its items in it alone.
func (c carried) Scratch(ctx context.Context, config carrier.Config) (carrier.Backend, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	return c.m.Open(ctx, raw)
}

// ReadModule reads a module that is not larger than one may be.
func ReadModule(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Size() > MaxModule:
		return nil, storage.LimitError(storage.SizeLimit, "module bytes", MaxModule, info.Size())
	}
	return os.ReadFile(path)
}
