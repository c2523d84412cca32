package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/host/wasmhost"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Options are how a module is tried.
type Options struct {
	Name     string          // of the plugin, for messages; empty: "plugin"
	Config   json.RawMessage // its configuration, a JSON object; nil: none
	Env      map[string]string
	Memory   uint64        // linear memory of an instance, in bytes; 0: 1 GiB
	Call     time.Duration // what a call may take; 0: 10 s, for machines under load
	CacheDir string        // of compiled modules; empty: none is kept
	Log      *slog.Logger  // what the plugin logs; nil: nowhere
	// Except are checks that are known to fail, each with its reason.
	Except []storagetest.Exception
	// Each is told each result as it comes; nil: nobody.
	Each func(storagetest.Result)
}

// Report is what came of it.
type Report struct {
	Name, Version string // as the plugin says
	SHA256        string // of the module, in hex
	Size          int    // of the module, in bytes
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
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	m, err := r.Load(ctx, module, wasmhost.Options{Name: o.Name, Memory: o.Memory, Call: o.Call, Env: o.Env, Log: o.Log, Clock: clock.Now})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	open := func(ctx context.Context) (*wasmhost.Backend, error) { return m.Open(ctx, o.Config) }
	b, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("it is a plugin, but it cannot be opened: %w", err)
	}
	info := b.Info()
	report := &Report{Name: info.Name, Version: info.Version, SHA256: m.Digest(), Size: len(module), Caps: info.Caps, Limits: info.Limits}
	if err := b.Close(ctx); err != nil {
		return nil, fmt.Errorf("it cannot be closed: %w", err)
	}
	each := func(one storagetest.Result) {
		report.Results = append(report.Results, one)
		if o.Each != nil {
			o.Each(one)
		}
	}
	hostile(ctx, m, open, each)
	err = storagetest.Report(ctx, storagetest.Factory{Clock: clock,
		Open: func(ctx context.Context) (storage.Backend, error) { return open(ctx) }}, each, o.Except...)
	return report, err
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
