package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host/wasmhost"
	"github.com/plinthkv/plinth/otel/setup"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

type configDefaultCmd struct{}

func (configDefaultCmd) Run(e env) error {
	_, err := e.stdout.Write(config.Default())
	return err
}

type configShowCmd struct {
	Source source `embed:""`
}

func (c *configShowCmd) Run(e env) error {
	cfg, err := config.Load(config.Options{File: c.Source.Config, Environ: e.environ, Flags: c.Source.Set})
	if err != nil {
		return listed(err)
	}
	shown, err := cfg.YAML()
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(shown)
	return err
}

// schema is written by tools/docgen.
//
//go:embed schema.json
var schema []byte

type configSchemaCmd struct{}

func (configSchemaCmd) Run(e env) error {
	_, err := e.stdout.Write(schema)
	return err
}

type versionCmd struct{}

func (versionCmd) Run(e env) error {
	_, err := fmt.Fprintf(e.stdout, "plinth %s, ABI %d.%d\n", version(), abi.Version, abi.Minor)
	return err
}

// version is that of the module that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// source is where a command's configuration comes from.
type source struct {
	Config string            `help:"Configuration file; without one, the built-in configuration." type:"path" env:"PLINTH_CONFIG" short:"c"`
	Set    map[string]string `help:"Set one value of the configuration, such as server.http=127.0.0.1:8000; may be repeated." placeholder:"PATH=VALUE"`
}

func (s source) options(e env) []plinth.Option {
	opts := []plinth.Option{plinth.WithEnviron(e.environ), plinth.WithOverrides(s.Set), plinth.WithCacheDir(cacheDir(e))}
	if self, err := os.Executable(); err == nil { // it is its own worker
		opts = append(opts, plinth.WithWorker(self))
	}
	return opts
}

// cacheDir is where compiled plugins are kept: what PLINTH_CACHE_DIR says, else a
// folder in the user's cache directory; empty, with a word about it, where there
// can be none that is safe.
func cacheDir(e env) string {
	for _, v := range e.environ {
		if dir, ok := strings.CutPrefix(v, "PLINTH_CACHE_DIR="); ok {
			return dir
		}
	}
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "plinth", "wasm")
		err = wasmhost.CheckCacheDir(dir)
	}
	if err != nil {
		fmt.Fprintln(e.stderr, "plinth: compiled plugins are not kept, so that every start compiles them:", err)
		return ""
	}
	return dir
}

type checkCmd struct {
	File string            `arg:"" help:"The configuration file." type:"path"`
	Set  map[string]string `help:"Set one value of the configuration; may be repeated." placeholder:"PATH=VALUE"`

	Explain bool `help:"Print what each store guarantees, and which stage changes what about it."`
}

func (c *checkCmd) Run(ctx context.Context, e env) (err error) {
	opts := source{Config: c.File, Set: c.Set}.options(e)
	h, cfg, err := plinth.OpenConfig(ctx, c.File, append(opts, plinth.WithLogger(slog.New(slog.NewTextHandler(e.stderr, nil))))...)
	err = config.Join(err, c.telemetry(e))
	if h != nil {
		defer func() { err = errors.Join(err, h.Close(ctx)) }()
	}
	if err != nil {
		return listed(err)
	}
	if cfg.Server.HTTP != "" || cfg.Server.GRPC != "" { // what "serve" would refuse
		if _, err := newListeners(cfg, server.Settings{}, grpcserver.Settings{}); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		if cfg.Plugins[name].Trust == "trusted" {
			fmt.Fprintf(e.stdout, "note: plugin %s is trusted: it runs without interruption checks, and one that loops for ever hangs the whole process\n", name)
		}
	}
	for _, s := range h.Stores() {
		for _, warning := range s.Warnings() {
			fmt.Fprintf(e.stdout, "warning: store %s: %s\n", s.Name(), warning)
		}
	}
	if c.Explain {
		printExplained(e.stdout, h)
	} else {
		printStores(e.stdout, h)
	}
	fmt.Fprintf(e.stdout, "%s: ok\n", c.File)
	return nil
}

// telemetry is what is wrong with the section telemetry, which only the program
// reads.
func (c *checkCmd) telemetry(e env) error {
	cfg, _ := config.Load(config.Options{File: c.File, Environ: e.environ, Flags: c.Set})
	if cfg == nil {
		return nil // reported
	}
	return setup.Validate(cfg.Telemetry)
}

// listed puts a number before many errors.
func listed(err error) error {
	var many config.Errors
	if errors.As(err, &many) && len(many) > 1 {
		return fmt.Errorf("%d errors in the configuration:\n%w", len(many), err)
	}
	return err
}

func printStores(w io.Writer, h *plinth.Host) {
	for _, s := range h.Stores() {
		fmt.Fprintf(w, "store %s: %s\n", s.Name(), pipelineOf(s))
		fmt.Fprintf(w, "  can: %s\n", s.Info().Caps)
	}
}

// pipelineOf is a store's way down, such as "instrument → cache → memory".
func pipelineOf(s *plinth.Store) string {
	return strings.Join(append(s.Stages(), s.Plugin()), " → ")
}

type pluginListCmd struct {
	Source source `embed:""`
}

func (p *pluginListCmd) Run(e env) error {
	cfg, err := config.Load(config.Options{File: p.Source.Config, Environ: e.environ, Flags: p.Source.Set})
	if err != nil {
		return listed(err)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tMODULE\tTRUST\tUSED BY")
	names := slices.Collect(maps.Keys(cfg.Plugins))
	if !slices.Contains(names, config.Memory) {
		names = append(names, config.Memory)
	}
	slices.Sort(names)
	for _, name := range names {
		pc := cfg.Plugins[name]
		file, trust := pc.Wasm, "interruptible"
		if file == "" {
			file, trust = "built in", "built in"
		} else if pc.Trust != "" {
			trust = pc.Trust
		}
		var users []string
		for _, store := range slices.Sorted(maps.Keys(cfg.Stores)) {
			if cfg.Stores[store].Backend.Plugin == name {
				users = append(users, store)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, file, trust, strings.Join(users, ", "))
	}
	return t.Flush()
}

type pluginInspectCmd struct {
	File   string `arg:"" help:"The module; \"memory\" is the built-in one."`
	Config string `help:"Configuration to open it with, as a JSON object." placeholder:"JSON"`
}

func (p *pluginInspectCmd) Run(ctx context.Context, e env) (err error) {
	binary := module.Wasm
	if p.File != config.Memory {
		if binary, err = os.ReadFile(p.File); err != nil {
			return err
		}
	}
	r, err := wasmhost.NewRuntime(ctx, cacheDir(e))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	m, err := r.Load(ctx, binary, wasmhost.Options{Name: filepath.Base(p.File), Memory: 1 << 30,
		Log: slog.New(slog.NewTextHandler(e.stderr, nil))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	fmt.Fprintf(e.stdout, "sha256:       %s\nsize:         %d bytes\nABI:          v%d\n", m.Digest(), len(binary), abi.Version)
	b, err := m.Open(ctx, []byte(p.Config))
	if err != nil {
		return fmt.Errorf("the module is a plugin, but it cannot be opened: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	printInfo(e.stdout, b.Info())
	return nil
}

func printInfo(w io.Writer, i storage.Info) {
	fmt.Fprintf(w, "name:         %s\nversion:      %s\n", i.Name, i.Version)
	for _, name := range storage.CapNames() {
		c, _ := storage.ParseCap(name)
		mark := "no"
		if i.Caps.Has(c) {
			mark = "yes"
		}
		fmt.Fprintf(w, "  %-16s%s\n", name, mark)
	}
	fmt.Fprintf(w, "limits:       %s\n", limits(i.Limits))
}

func bound(n int, unit string) string {
	if n == 0 {
		return "unlimited"
	}
	return fmt.Sprintf("%d%s", n, unit)
}
