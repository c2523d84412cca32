package host

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// builtinMemory is the linear memory of a built-in plugin, in bytes: reserved as
// address space, used as far as it is needed.
const builtinMemory = 2 << 30

// plugin is a loaded module, an executable, or a remote host.
type plugin struct {
	module      *wasmhost.Module // nil: it is another
	process     *procs.Plugin    // nil: it is another
	isolated    *isolate.Module  // of a process: the module that it runs; nil: none
	remote      client.Config    // of a remote one; each backend has its own connection
	unreachable bool             // that was found and has been reported
	shared      bool             // others may write to its backends, past this host
}

// carrier is how the plugin is reached.
func (p *plugin) carrier() string {
	switch {
	case p.process != nil:
		return CarrierProcess
	case p.module != nil:
		return CarrierWasm
	}
	return CarrierRemote
}

// supervised is a backend whose carrier notices when its state is lost.
type supervised interface {
	storage.Backend
	WhenLost(func())
}

// open makes the backend of a store, with its configuration as JSON.
func (p *plugin) open(ctx context.Context, store string, raw json.RawMessage) (_ supervised, err error) {
	if p.process == nil {
		return p.module.OpenFor(ctx, store, raw)
	}
	if p.isolated != nil {
		if raw, err = p.isolated.With(raw); err != nil {
			return nil, err
		}
	}
	return p.process.Open(ctx, store, raw)
}

// try has a process say what its backend would be. If the error is Unsupported, it could
// not, and the backend stands for any.
func (p *plugin) try(ctx context.Context, raw json.RawMessage) (storage.Backend, error) {
	if p.isolated != nil {
		var err error
		if raw, err = p.isolated.With(raw); err != nil {
			return nil, err
		}
	}
	info, err := p.process.Try(ctx, raw)
	if err != nil {
		info = anything
	}
	return would{info: info}, err
}

// plugin loads the plugin of that name, once. Nil without an error: it failed
// before, and has been reported.
func (h *Host) plugin(ctx context.Context, cfg *config.Config, name string) (*plugin, error) {
	if p, ok := h.plugins[name]; ok {
		return p, nil
	}
	h.plugins[name] = nil
	pc := cfg.Plugins[name]
	o := wasmhost.Options{
		Name: name, SHA256: pc.SHA256, Trusted: pc.Trust == "trusted",
		Memory: uint64(pc.Limits.Memory), Call: time.Duration(pc.Limits.Call), MaxFrame: int(pc.Limits.MaxFrame),
		Env: pc.Grants.Env, Log: h.settings.Log, Clock: h.clock.Now,
		Tracer: h.settings.Tracer, Meter: h.settings.Meter, Restart: restartPolicy(pc),
	}
	if pc.OnLoss == "restart" {
		o.OnLoss = wasmhost.RestartOnLoss
	}
	path := fmt.Sprintf("plugins.%s", name)
	if cfg.Broken(path) {
		return nil, nil
	}
	binary, ok := h.settings.Builtins[name]
	switch {
	case pc.Remote != "":
		p := &plugin{remote: remoteConfig(pc)}
		if err := p.remote.Validate(); err != nil {
			return nil, cfg.Root().Errorf(path, "%v", err)
		}
		h.plugins[name] = p
		return p, nil
	case len(pc.Process.Command) > 0:
		process, err := procs.New(h.processOptions(name, pc))
		if err != nil {
			return nil, cfg.Root().Errorf(path+".process", "%v", err)
		}
		h.plugins[name] = &plugin{process: process}
		return h.plugins[name], nil
	case pc.Isolation == "process":
		p, err := h.isolate(name, pc, ok)
		if err != nil {
			return nil, cfg.Root().Errorf(path, "%v", err)
		}
		h.plugins[name] = p
		return p, nil
	case ok:
		o.BuiltIn, o.Trusted = true, o.Call == 0
		if o.Memory == 0 {
			o.Memory = builtinMemory
		}
	case pc.Wasm == "":
		return h.program(cfg, name, pc)
	default:
		var err error
		if binary, err = readModule(pc.Wasm); err != nil {
			return nil, cfg.Root().Errorf(path+".wasm", "%v", err)
		}
	}
	m, err := h.runtime.Load(ctx, binary, o)
	if err != nil {
		return nil, cfg.Root().Errorf(path, "%v", err)
	}
	p := &plugin{module: m}
	h.plugins[name] = p
	return p, nil
}

// program is a plugin whose executable needs no entry in the configuration.
func (h *Host) program(cfg *config.Config, name string, pc config.Plugin) (*plugin, error) {
	program, ok := h.settings.Programs[name]
	if !ok {
		return nil, cfg.Root().Errorf("plugins."+name, "there is no plugin %q", name)
	}
	o := h.processOptions(name, pc)
	o.Command, o.Telemetry = program.Command, h.settings.PluginTelemetry
	o.Env = maps.Clone(pc.Grants.Env)
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	maps.Copy(o.Env, program.Env)
	process, err := procs.New(o)
	if err != nil {
		return nil, cfg.Root().Errorf("plugins."+name, "%v", err)
	}
	h.plugins[name] = &plugin{process: process, shared: program.Shared}
	return h.plugins[name], nil
}

// readModule reads a module that is not larger than one may be.
func readModule(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case info.Size() > wasmhost.MaxModule:
		return nil, storage.LimitError(storage.SizeLimit, "module bytes", wasmhost.MaxModule, info.Size())
	}
	return os.ReadFile(path)
}

func restartPolicy(pc config.Plugin) supervise.Policy {
	return supervise.Policy{Budget: pc.Restart.Budget, Window: time.Duration(pc.Restart.Window), Wait: time.Duration(pc.Restart.Wait)}
}

// processOptions is how an executable is run.
func (h *Host) processOptions(name string, pc config.Plugin) procs.Options {
	var telemetry []byte
	if pc.Grants.Telemetry {
		telemetry = h.settings.PluginTelemetry
	}
	return procs.Options{
		Name: name, Command: pc.Process.Command, SHA256: pc.SHA256, Files: pc.Process.Files,
		Plaintext: pc.Process.TLS == "off", Plain: pc.Process.Plane == "grpc",
		Env: pc.Grants.Env, Dir: pc.Grants.Dir, Telemetry: telemetry,
		Start: time.Duration(pc.Process.StartTimeout), Stop: time.Duration(pc.Process.StopTimeout), Call: time.Duration(pc.Limits.Call),
		MaxFrame: int(pc.Limits.MaxFrame), Restart: restartPolicy(pc), RestartEmpty: pc.OnLoss == "restart",
		Memory: uint64(pc.Limits.Memory), Limit: uint64(pc.Limits.Memory),
		Log: h.settings.Log, Clock: h.clock.Now, Tracer: h.settings.Tracer, Meter: h.settings.Meter,
	}
}

// isolate is a module that a worker runs.
func (h *Host) isolate(name string, pc config.Plugin, builtin bool) (*plugin, error) {
	if len(h.settings.Worker) == 0 {
		return nil, storage.Errorf(storage.InvalidArgument, "isolation: process needs a program that runs the module: the one that embeds this host has to name it")
	}
	m := &isolate.Module{Name: name, File: pc.Wasm, SHA256: pc.SHA256, Memory: uint64(pc.Limits.Memory), MaxFrame: int(pc.Limits.MaxFrame),
		Env: pc.Grants.Env, CacheDir: h.settings.CacheDir}
	if m.Memory == 0 && builtin {
		m.Memory = builtinMemory
	}
	if err := m.Check(builtin); err != nil {
		return nil, err
	}
	o := h.processOptions(name, pc)
	o.Command, o.SHA256, o.Env = h.settings.Worker, "", map[string]string{isolate.Variable: "1"}
	o.Memory, o.Limit = m.Memory, 0 // its runtime takes more, which the module cannot choose
	if o.Call == 0 {
		o.Call = wasmhost.DefaultCall
	}
	if o.Start == 0 {
		o.Start = isolate.StartTime
	}
	process, err := procs.New(o)
	return &plugin{process: process, isolated: m}, err
}
