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

	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Options are how a plugin is tried.
type Options struct {
	Name     string          // of the plugin, for messages; empty: "plugin"
	Config   json.RawMessage // its configuration, a JSON object; nil: none
	Env      map[string]string
	Memory   uint64        // linear memory of an instance, in bytes; 0: 1 GiB
	Call     time.Duration // what a call may take; 0: 10 s, for machines under load
	CacheDir string        // of compiled modules; empty: none is kept
	// Worker is the command of a program that compiles modules in a process of its own: its
	// main begins with plinth.RunWorker. Empty: this one does.
	Worker []string
	// Plaintext and Plain are of a process: without TLS on its control connection,
	// and asked over gRPC although it offers frames.
	Plaintext, Plain bool
	Log              *slog.Logger // what the plugin logs; nil: nowhere
	// Except are checks that are known to fail, each with its reason.
	Except []storagetest.Exception
	// Only, if set, leaves out the checks of which it returns false. Those that no host would
	// send are of the category "hostile".
	Only     func(category, check string) bool
	FailFast bool // end after the first check that fails
	// Each is told each result as it comes; nil: nobody.
	Each func(storagetest.Result)
}

// Report is what came of it.
type Report struct {
	Name, Version string // as the plugin says
	SHA256        string // of the module or executable, in hex
	Size          int    // of the module or executable, in bytes
	Caps          storage.Caps
	Limits        storage.Limits
	Results       []storagetest.Result // in the order of the checks
}

// Count is how many checks came to that outcome.
func (r *Report) Count(o storagetest.Outcome) (n int) {
	for _, one := range r.Results {
		if one.Outcome == o {
			n++
		}
	}
	return n
}

// OK tells whether no check failed.
func (r *Report) OK() bool { return r.Count(storagetest.Failed) == 0 }

// Run tries a module. An error says that it could not be tried at all: it is no
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
	m, err := r.Load(ctx, module, wasmhost.Options{Name: o.Name, Memory: o.Memory, Call: o.Call, Env: o.Env, Log: o.Log, Clock: clock.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	report := &Report{SHA256: m.Digest(), Size: len(module)}
	return report, report.try(ctx, storagetest.Factory{Clock: clock}, o, func(ctx context.Context, config json.RawMessage) (raw, error) { return m.Open(ctx, config) })
}

// RunProcess is Run for an executable, with its arguments. It is asked by frames, if
// it offers them, and over gRPC else. Each process has a working directory of its
// own, and one that is durable is started again in that, also after it was killed.
func RunProcess(ctx context.Context, command []string, o Options) (_ *Report, err error) {
	o.complete()
	clock := storagetest.NewClock()
	base, err := os.MkdirTemp("", "plinth-plugin-test")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	options := procs.Options{Name: o.Name, Command: command, Env: o.Env, Plaintext: o.Plaintext, Plain: o.Plain, Log: o.Log, Clock: clock.Now}
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
	return report, report.try(ctx, storagetest.Factory{Clock: clock,
		Reopen: func(ctx context.Context) (storage.Backend, error) { return again(ctx, o.Config) },
		Crash: func(ctx context.Context) (storage.Backend, error) {
			last.Kill()
			_ = last.Close(ctx) // it was killed, and says so
			return again(ctx, o.Config)
		}}, o, open)
}

// digest is what the executable is.
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
	each := func(one storagetest.Result) {
		r.Results = append(r.Results, one)
		failed = failed || one.Outcome == storagetest.Failed
		if o.Each != nil {
			o.Each(one)
		}
	}
	f.Only = func(category, check string) bool {
		return !(o.FailFast && failed) && (o.Only == nil || o.Only(category, check))
	}
	hostile(ctx, open, o.Config, f.Only, each)
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
		o.Memory = 1 << 30
	}
	if o.Call == 0 {
		o.Call = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}
