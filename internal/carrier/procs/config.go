package procs

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// Config configures a plugin that is an executable.
type Config struct {
	SHA256  string     `yaml:"sha256"`  // SHA-256 of the executable, 64 hex digits; optional
	Process Executable `yaml:"process"` // the executable, and how to start it

	Common       `yaml:",inline"`
	carrier.Gate `yaml:",inline"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Process: Executable{TLS: "auto", Running: DefaultRunning()}, Common: DefaultCommon()}
}

// Common has the settings of every plugin that runs as a process.
type Common struct {
	Limits Limits `yaml:"limits"` // limits of its resources
	Grants Grants `yaml:"grants"` // access to its surroundings

	carrier.Loss `yaml:",inline"`
}

// DefaultCommon returns the defaults.
func DefaultCommon() Common {
	return Common{Limits: Limits{Call: DefaultCall, MaxFrame: abi.DefaultMaxFrame}, Loss: carrier.DefaultLoss()}
}

// Running configures how a process is called, and its time limits.
type Running struct {
	Transport    string        `yaml:"transport"`     // "auto": by frames if the plugin supports them; "grpc": never
	StartTimeout time.Duration `yaml:"start_timeout"` // time to become ready
	StopTimeout  time.Duration `yaml:"stop_timeout"`  // time to finish calls in flight, flush and end
}

// DefaultRunning returns the defaults.
func DefaultRunning() Running {
	return Running{Transport: "auto", StartTimeout: DefaultStart, StopTimeout: DefaultStop}
}

// Executable names the executable of a plugin, and configures its start.
type Executable struct {
	// Command is the executable and its arguments. Paths that begin with ./ or ../ are
	// relative to the folder of the configuration file; an executable without a slash is
	// looked up in PATH.
	Command []string `yaml:"command"`
	// Files has the SHA-256 of files that the executable runs, by path, as 64 hex digits.
	// If sha256 is set, each argument that is a file requires one.
	Files map[string]string `yaml:"files"`
	TLS   string            `yaml:"tls"` // "auto": the control connection is authenticated by certificates made for each start; "off": for plugins without go-plugin's AutoMTLS

	Running `yaml:",inline"`
}

// Limits bounds the resources of a process.
type Limits struct {
	Memory   uint64        `yaml:"memory,bytes"`    // memory of the process (Linux only); 0 means no limit
	Call     time.Duration `yaml:"call"`            // how long it may leave all calls without an answer before it is killed
	MaxFrame int           `yaml:"max_frame,bytes"` // size of one message between host and plugin
}

// Grants are the granted resources of a process; by default none.
type Grants struct {
	Env carrier.Env `yaml:"env"` // environment variables, at most 1,024
	Dir string      `yaml:"dir"` // folder for its files, relative to the folder of the configuration file; each store has its own folder in it, which is its working directory; by default an empty one
	// Telemetry passes the trace settings of "telemetry", including their secrets, so
	// that its own spans go to the same place.
	Telemetry bool `yaml:"telemetry"`
}

// Validate checks the names.
func (g *Grants) Validate() error { return g.Env.Check("env") }

// Validate checks the digest and what follows from a loss.
func (c *Config) Validate() error {
	return errors.Join(carrier.CheckDigest("sha256", c.SHA256), c.Loss.Validate(), c.Gate.Validate())
}

// Validate checks everything except the files.
func (e *Executable) Validate() error {
	var errs []error
	switch {
	case len(e.Command) == 0:
		errs = append(errs, carrier.Fieldf("command", "is missing: set the executable and its arguments"))
	case e.Command[0] == "":
		errs = append(errs, carrier.Fieldf("command[0]", "must not be empty: it is the executable"))
	}
	for i, arg := range e.Command {
		if strings.ContainsRune(arg, 0) {
			errs = append(errs, carrier.Fieldf("command["+strconv.Itoa(i)+"]", "contains a zero byte"))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(e.Files)) {
		errs = append(errs, carrier.CheckDigest("files."+path, e.Files[path]))
	}
	if e.TLS != "" && e.TLS != "auto" && e.TLS != "off" {
		errs = append(errs, carrier.Fieldf("tls", "must be auto or off"))
	}
	return errors.Join(append(errs, e.Running.Validate())...)
}

// Validate checks the choice.
func (r *Running) Validate() error {
	switch r.Transport {
	case "", "auto", "grpc":
		return nil
	}
	return carrier.Fieldf("transport", "must be auto or grpc")
}

// Factory makes the carriers of executables.
func Factory() carrier.Factory {
	return carrier.NewFactory("process", false, "process", DefaultConfig(), func(_ context.Context, p carrier.Plugin, c Config) (carrier.Carrier, error) {
		o := c.options(p)
		files := o.files()
		process, err := New(o)
		if err != nil {
			return nil, &carrier.FieldError{Path: "process", Err: err}
		}
		carried := Carry(process, false)
		carried.Files, carried.gate = files, c.Gate.Gate
		return carried, nil
	})
}

// options returns those of the executable.
func (c *Config) options(p carrier.Plugin) Options {
	o := c.Options(p, c.Process.Running)
	o.Command, o.Files = c.Process.from(p.Path)
	o.SHA256, o.Plaintext = c.SHA256, c.Process.TLS == "off"
	return o
}

// Options returns those of a process that is configured so, without its command.
func (c *Common) Options(p carrier.Plugin, r Running) Options {
	o := Options{
		Name: p.Name, Env: c.Grants.Env, Telemetry: p.Telemetry, Start: r.StartTimeout, Stop: r.StopTimeout, Plain: r.Transport == "grpc", Call: c.Limits.Call,
		MaxFrame: c.Limits.MaxFrame, Memory: c.Limits.Memory, Limit: c.Limits.Memory, Restart: c.Restart.Policy(), RestartEmpty: c.Restarts(),
		Log: p.Log, Clock: p.Clock, Tracer: p.Tracer, Meter: p.Meter,
	}
	if !c.Grants.Telemetry {
		o.Telemetry = nil
	}
	if c.Grants.Dir != "" {
		o.Dir = p.Path(c.Grants.Dir)
	}
	return o
}

// from resolves the executable, if it is written as a path, and the paths of files. The
// executable keeps its separator, without which it would be looked up in PATH.
func (e *Executable) from(path func(string) string) (command []string, files map[string]string) {
	command = slices.Clone(e.Command)
	for i, arg := range command {
		if strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || i == 0 && strings.Contains(arg, "/") {
			if command[i] = path(arg); !strings.Contains(command[i], "/") {
				command[i] = "." + string(filepath.Separator) + command[i]
			}
		}
	}
	files = make(map[string]string, len(e.Files))
	for name, digest := range e.Files {
		files[path(name)] = digest
	}
	return command, files
}

// Carried makes a carrier of an executable.
type Carried struct {
	Plugin *Plugin
	carrier.Files
	shared bool
	gate   string
}

// Carry returns p as a carrier. shared says that others may write to its backends.
func Carry(p *Plugin, shared bool) *Carried { return &Carried{Plugin: p, shared: shared} }

// Kind returns [carrier.Process].
func (*Carried) Kind() string { return carrier.Process }

// Shared reports whether others may write to its backends.
func (c *Carried) Shared() bool { return c.shared }

// HasFolder reports whether the backends keep files.
func (c *Carried) HasFolder() bool { return c.Plugin.opts.Dir != "" }

// Close does nothing: a process ends with its backend.
func (*Carried) Close(context.Context) error { return nil }

// Open starts a process for the store.
func (c *Carried) Open(ctx context.Context, store string, config carrier.Config) (carrier.Backend, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	return c.Plugin.Open(ctx, store, raw)
}

// Try has a process say what its backend would be.
func (c *Carried) Try(ctx context.Context, config carrier.Config) (storage.Info, error) {
	raw, err := config.JSON()
	if err != nil {
		return storage.Info{}, err
	}
	defer clear(raw)
	return c.Plugin.Try(ctx, raw)
}

// Gate returns what a new executable has to pass.
func (c *Carried) Gate() string { return c.gate }

// Subject returns the executable.
func (c *Carried) Subject(config carrier.Config) (carrier.Subject, error) {
	raw, err := config.JSON()
	o := c.Plugin.opts
	return carrier.Subject{Name: o.Name, Command: o.Command, Env: o.Env.Reveal(), Config: raw, Plaintext: o.Plaintext, Plain: o.Plain}, err
}

// Scratch starts a process of its own: see [Plugin.Scratch].
func (c *Carried) Scratch(ctx context.Context, config carrier.Config) (carrier.Backend, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	return c.Plugin.Scratch(ctx, raw)
}
