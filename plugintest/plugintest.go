package plugintest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Options configure a test of a plugin.
type Options struct {
	Name     string          // of the plugin, for messages; by default "plugin"
	Config   json.RawMessage // its configuration, a JSON object; optional
	Env      map[string]string
	Memory   uint64        // linear memory of an instance, in bytes; by default 64 MiB, as limits.memory
	Call     time.Duration // limit of a call; by default 10 s, for machines under load
	CacheDir string        // folder for compiled modules; optional
	// Worker names the command of a program that compiles modules in a separate process: its
	// main begins with plinth.RunWorker. By default this process compiles.
	Worker []string
	// Plaintext and Plain configure a process: without TLS on its control connection, and
	// called over gRPC even if it supports frames.
	Plaintext, Plain bool
	Log              *slog.Logger // for records of the plugin; optional
	// Except has checks that are known to fail, each with its reason.
	Except []storagetest.Exception
	// Only, if set, selects the checks for which it returns true. Checks that send what
	// no host would have the category "hostile".
	Only     func(category, check string) bool
	FailFast bool // end after the first check that fails
	// Each receives each result as it arrives. It is optional.
	Each func(storagetest.Result)
}

// Report holds the result of a test.
type Report struct {
	Name, Version string // as the plugin says
	SHA256        string // of the module or executable, in hex
	Size          int    // of the module or executable, in bytes
	Caps          storage.Caps
	Limits        storage.Limits
	Results       []storagetest.Result // in the order of the checks
}

// Count returns the number of checks with that outcome.
func (r *Report) Count(o storagetest.Outcome) (n int) {
	for _, one := range r.Results {
		if one.Outcome == o {
			n++
		}
	}
	return n
}

// OK reports whether no check failed.
func (r *Report) OK() bool { return r.Count(storagetest.Failed) == 0 }

// Run tests a module. An error means that it could not be tested at all: it is not a
// plugin, it cannot be opened with its configuration, or ctx has ended.
func Run(ctx context.Context, module []byte, o Options) (_ *Report, err error) {
	o.complete()
	clock := storagetest.NewClock()
	r, err := wasmhost.NewRuntime(ctx, o.CacheDir)
	if err != nil {
		return nil, err
	}
	if len(o.Worker) > 0 {
		r.CompileBy(isolate.Compiler(o.Worker, isolate.DefaultBounds()))
	}
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	m, err := r.Load(ctx, module, wasmhost.Options{Name: o.Name, Memory: o.Memory, Call: o.Call, Env: carrier.EnvOf(o.Env), Log: o.Log, Clock: clock.Now, Stacks: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	report := &Report{SHA256: m.Digest(), Size: len(module)}
	return report, report.try(ctx, storagetest.Factory{Clock: clock}, o, func(ctx context.Context, config json.RawMessage) (raw, error) { return m.Open(ctx, config) })
}

// RunProcess tests an executable, with its arguments, like Run. It uses frames if the
// plugin supports them, and gRPC otherwise. Each process has its own working directory; a
// durable one is started again in the same directory, also after it was killed.
func RunProcess(ctx context.Context, command []string, o Options) (_ *Report, err error) {
	o.complete()
	clock := storagetest.NewClock()
	base, err := os.MkdirTemp("", "plinth-plugin-test")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	options := procs.Options{Name: o.Name, Command: command, Env: carrier.EnvOf(o.Env), Plaintext: o.Plaintext, Plain: o.Plain, Log: o.Log, Clock: clock.Now}
	report := &Report{}
	if report.SHA256, report.Size, err = digest(options); err != nil {
		return nil, err
	}
	var last *procs.Backend
	again := func(ctx context.Context, config json.RawMessage) (*procs.Backend, error) {
		p, err := procs.New(options)
		if err != nil {
			return nil, err
		}
		last, err = p.Open(ctx, "", config)
		return last, err
	}
	open := func(ctx context.Context, config json.RawMessage) (raw, error) {
		if options.Dir, err = os.MkdirTemp(base, ""); err != nil {
			return nil, err
		}
		return again(ctx, config)
	}
	return report, report.try(ctx, storagetest.Factory{Clock: clock, Reuse: true,
		Reopen: func(ctx context.Context) (storage.Backend, error) { return again(ctx, o.Config) },
		Crash: func(ctx context.Context) (storage.Backend, error) {
			last.Kill()
			_ = last.Close(ctx) // it was killed, and says so
			return again(ctx, o.Config)
		}}, o, open)
}

// digest returns the digest and the size of the executable.
func digest(o procs.Options) (sum string, size int, err error) {
	p, err := procs.New(o)
	if err != nil {
		return "", 0, err
	}
	f, err := os.Open(p.Path())
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), int(n), err
}

// mostFilled limits how many bytes are written into a plugin, to see whether its space ends.
// What is to be seen then is not tried of one with more.
const mostFilled = 256 << 20

// try runs everything, and notes what comes of it. The factory is completed.
func (r *Report) try(ctx context.Context, f storagetest.Factory, o Options, open opener) error {
	b, err := open(ctx, o.Config)
	if err != nil {
		return fmt.Errorf("it is a plugin, but it cannot be opened: %w", err)
	}
	info := b.Info()
	r.Name, r.Version, r.Caps, r.Limits = info.Name, info.Version, info.Caps, info.Limits
	if err := b.Close(ctx); err != nil {
		return fmt.Errorf("it cannot be closed: %w", err)
	}
	failed := false
	each := said(func(one storagetest.Result) {
		r.Results = append(r.Results, one)
		failed = failed || one.Outcome == storagetest.Failed
		if o.Each != nil {
			o.Each(one)
		}
	})
	f.Only = func(category, check string) bool {
		return !(o.FailFast && failed) && (o.Only == nil || o.Only(category, check))
	}
	t := &trial{open: open, config: o.Config, clock: f.Clock.Now, shared: f.Reuse, room: mostFilled}
	if !t.hostile(ctx, f.Only, each) {
		return nil // whatever else is asked has the same cause
	}
	if !t.endless {
		f.Full = func(ctx context.Context) (storage.Backend, error) { return open(ctx, o.Config) }
	}
	if !o.FailFast && o.Only == nil {
		f.Only = nil
	}
	f.Open = func(ctx context.Context) (storage.Backend, error) { return open(ctx, o.Config) }
	return storagetest.Report(ctx, f, each, o.Except...)
}

func (o *Options) complete() {
	if o.Name == "" {
		o.Name = "plugin"
	}
	if o.Memory == 0 {
		o.Memory = wasmhost.DefaultMemory
	}
	if o.Call == 0 {
		o.Call = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}
