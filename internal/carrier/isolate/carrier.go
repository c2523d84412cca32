package isolate

import (
	"context"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// Factory makes the carriers of modules that workers run.
func Factory() carrier.Factory {
	return carrier.NewFactory("wasm", true, "module", wasmhost.DefaultConfig(), carry)
}

func carry(_ context.Context, p carrier.Plugin, c wasmhost.Config) (carrier.Carrier, error) {
	if len(p.Worker) == 0 {
		return nil, NoWorker()
	}
	if p.Module != nil {
		if err := c.CheckBuiltIn(p.Name); err != nil {
			return nil, err
		}
	}
	m, o := from(p, &c)
	var files carrier.Files
	if m.File != "" {
		files = carrier.NoteFiles(m.File)
	}
	if err := m.Check(p.Module != nil); err != nil {
		return nil, &carrier.FieldError{Err: err}
	}
	process, err := procs.New(o)
	if err != nil {
		return nil, &carrier.FieldError{Err: err}
	}
	return &isolated{module: m, process: procs.Carry(process, false), Files: files, gate: c.Gate.Gate}, nil
}

// from returns the module of a configuration, and the worker that runs it.
func from(p carrier.Plugin, c *wasmhost.Config) (*Module, procs.Options) {
	m := &Module{Name: p.Name, SHA256: c.SHA256, Memory: c.Limits.Memory, MaxFrame: c.Limits.MaxFrame, env: c.Grants.Env, CacheDir: p.CacheDir}
	if p.Module == nil {
		m.File = p.Path(c.Wasm)
	} else if m.Memory == 0 {
		m.Memory = wasmhost.BuiltInMemory
	}
	o := procs.Options{
		Name: p.Name, Command: p.Worker, Env: carrier.EnvOf(map[string]string{carrier.WorkerVariable: "1"}),
		Start: StartTime, Call: c.Limits.Call, MaxFrame: c.Limits.MaxFrame,
		Memory:  m.Memory, // its runtime takes more, which the module cannot choose
		Restart: c.Restart.Policy(), RestartEmpty: c.Restarts(),
		Log: p.Log, Clock: p.Clock, Tracer: p.Tracer, Meter: p.Meter,
	}
	if o.Call == 0 {
		o.Call = wasmhost.DefaultCall
	}
	return m, o
}

// NoWorker returns why a program that is no worker isolates nothing.
func NoWorker() error {
	return carrier.Fieldf("isolation", "process requires a worker program: the embedding program must set it")
}

// isolated is a module that workers run.
type isolated struct {
	module  *Module
	process *procs.Carried
	carrier.Files
	gate string
}

func (*isolated) Kind() string                      { return carrier.Process }
func (*isolated) Shared() bool                      { return false }
func (i *isolated) Close(ctx context.Context) error { return i.process.Close(ctx) }

func (i *isolated) Open(ctx context.Context, store string, config carrier.Config) (carrier.Backend, error) {
	raw, err := i.with(config)
	if err != nil {
		return nil, err
	}
	return i.process.Plugin.Open(ctx, store, raw)
}

func (i *isolated) Try(ctx context.Context, config carrier.Config) (storage.Info, error) {
	raw, err := i.with(config)
	if err != nil {
		return storage.Info{}, err
	}
	return i.process.Plugin.Try(ctx, raw)
}

// with returns the configuration of a worker: the module, and the backend's configuration.
func (i *isolated) with(config carrier.Config) ([]byte, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	return i.module.With(raw)
}

// Gate returns what a new module has to pass.
func (i *isolated) Gate() string { return i.gate }

// Subject returns the module, which the kit runs in this process.
func (i *isolated) Subject(config carrier.Config) (carrier.Subject, error) {
	raw, err := config.JSON()
	return carrier.Subject{Name: i.module.Name, Module: i.module.File, Env: i.module.env.Reveal(), Config: raw, Memory: i.module.Memory}, err
}

// Scratch opens an instance of its own.
func (i *isolated) Scratch(ctx context.Context, config carrier.Config) (carrier.Backend, error) {
	raw, err := i.with(config)
	if err != nil {
		return nil, err
	}
	return i.process.Plugin.Scratch(ctx, raw)
}
