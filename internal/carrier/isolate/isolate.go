package isolate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
)

// StartTime limits how long a worker may take to start: it may have to compile.
const StartTime = time.Minute

// Module describes what a worker runs.
type Module struct {
	Name     string            `json:"name"`
	File     string            `json:"file"`   // path; empty for the built-in module Name
	SHA256   string            `json:"sha256"` // expected digest, in hex; optional
	Memory   uint64            `json:"memory"`
	MaxFrame int               `json:"max_frame"`
	Env      map[string]string `json:"env"`
	CacheDir string            `json:"cache_dir"`
	Config   json.RawMessage   `json:"config"` // the plugin's own

	env carrier.Env // Env, for as long as a host keeps it
}

// With returns the configuration of a worker whose plugin has the configuration raw. Paths
// are absolute in it: a worker has another working directory.
func (m *Module) With(raw json.RawMessage) (json.RawMessage, error) {
	own := *m
	for _, path := range []*string{&own.File, &own.CacheDir} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		*path = abs
	}
	own.Env = m.env.Reveal()
	if own.Config = raw; len(raw) == 0 {
		own.Config = json.RawMessage("null")
	}
	return json.Marshal(&own)
}

// Check checks that the file exists and has its digest, before a worker is started for
// it.
func (m *Module) Check(builtin bool) error {
	if builtin {
		return nil
	}
	_, err := m.read(nil)
	return err
}

func (m *Module) read(builtins map[string][]byte) ([]byte, error) {
	if m.File == "" {
		binary, ok := builtins[m.Name]
		if !ok {
			return nil, storage.Errorf(storage.InvalidArgument, "the worker has no built-in plugin %q", m.Name)
		}
		return binary, nil
	}
	info, err := os.Stat(m.File)
	switch {
	case err != nil:
		return nil, storage.Errorf(storage.InvalidArgument, "%w", err)
	case !info.Mode().IsRegular():
		return nil, storage.Errorf(storage.InvalidArgument, "%s is not a file", m.File)
	case info.Size() > wasmhost.MaxModule:
		return nil, storage.LimitError(storage.SizeLimit, "module bytes", wasmhost.MaxModule, info.Size())
	}
	binary, err := os.ReadFile(m.File)
	if err != nil {
		return nil, storage.Errorf(storage.InvalidArgument, "%w", err)
	}
	sum := sha256.Sum256(binary)
	if have := hex.EncodeToString(sum[:]); m.SHA256 != "" && strings.ToLower(m.SHA256) != have {
		return nil, storage.Errorf(storage.InvalidArgument, "the module's SHA-256 is %s, but the configuration requires %s", have, m.SHA256)
	}
	return binary, nil
}

// Run runs the worker, if this process was started as one: then it does not return.
// builtins are the modules that need no file, by name. A main calls it first of all.
func Run(builtins map[string][]byte) {
	switch os.Getenv(carrier.WorkerVariable) {
	case "":
		return
	case compiles:
		runCompiler()
	}
	opener := func(ctx context.Context, env sdk.Env) (storage.Backend, error) { return open(ctx, env, builtins) }
	process.Plugin{Open: opener, Try: sdk.TryByOpening(opener)}.Serve() // a module keeps nothing elsewhere
}

// lossCode is the exit code of a worker whose instance was lost.
const lossCode = 3

// open loads the module and opens its backend.
func open(ctx context.Context, env sdk.Env, builtins map[string][]byte) (_ storage.Backend, err error) {
	var m Module
	if err := json.Unmarshal(env.Config, &m); err != nil {
		return nil, storage.Errorf(storage.Internal, "the worker's configuration cannot be read: %w", err)
	}
	binary, err := m.read(builtins)
	if err != nil {
		return nil, err
	}
	r, err := wasmhost.NewRuntime(ctx, m.CacheDir)
	if err != nil {
		return nil, err
	}
	b := &backend{runtime: r}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close(context.WithoutCancel(ctx)))
		}
	}()
	b.module, err = r.Load(ctx, binary, wasmhost.Options{
		// It needs no interruption: who interrupts is the host, by killing this process.
		Name: m.Name, BuiltIn: true, Trusted: true, Isolated: m.File != "", Memory: m.Memory, MaxFrame: m.MaxFrame, Env: carrier.EnvOf(m.Env),
		Log: env.Log, Clock: env.Now, TraceContext: sdk.TraceContext,
		Lost: func(why error) {
			// The state is gone, and what follows from that is for the host to say.
			fmt.Fprintln(os.Stderr, "the instance was lost:", why)
			os.Exit(lossCode)
		},
	})
	if err != nil {
		return nil, err
	}
	if string(m.Config) == "null" {
		m.Config = nil
	}
	b.Backend, err = b.module.Open(ctx, m.Config)
	if err != nil {
		return nil, err
	}
	env.Log.Log(ctx, slog.LevelDebug, "the module runs in a process of its own")
	return b, nil
}

// backend is the module's backend, with its runtime.
type backend struct {
	*wasmhost.Backend
	module  *wasmhost.Module
	runtime *wasmhost.Runtime
}

// Quick reports true unless the module has several instances: an instance answers one call
// at a time.
func (b *backend) Quick() bool { return !b.Info().Caps.Has(storage.CapStateless) }

// Close closes all of it.
func (b *backend) Close(ctx context.Context) error {
	var errs []error
	if b.Backend != nil {
		errs = append(errs, b.Backend.Close(ctx))
	}
	if b.module != nil {
		errs = append(errs, b.module.Close(ctx))
	}
	return errors.Join(append(errs, b.runtime.Close(ctx))...)
}
