package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

type configDefaultCmd struct {
	Data string `help:"Print the configuration of serve --data, with its store in a folder." placeholder:"DIR"`
}

func (c *configDefaultCmd) Run(e env) error {
	content := config.Default()
	if c.Data != "" {
		dir, err := filepath.Abs(c.Data)
		if err != nil {
			return err
		}
		if content, err = onData(dir); err != nil {
			return err
		}
	}
	_, err := e.stdout.Write(content)
	return err
}

type configShowCmd struct {
	Source source `embed:""`
}

func (c *configShowCmd) Run(e env) error {
	cfg, err := c.Source.load(e)
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

type versionCmd struct {
	JSON bool `name:"json" help:"Print a JSON object, with details of the build."`
}

func (v *versionCmd) Run(e env) error {
	if !v.JSON {
		_, err := fmt.Fprintln(e.stdout, versionLine())
		return err
	}
	built := map[string]any{"version": version(), "abi": fmt.Sprintf("%d.%d", abi.Version, abi.Minor), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if name, of := strings.CutPrefix(s.Key, "vcs."); of {
				built[name] = s.Value
			}
		}
	}
	if revision != "" {
		built["revision"] = revision
	}
	return json.NewEncoder(e.stdout).Encode(built)
}

// versionLine is what the program says of itself.
func versionLine() string {
	return fmt.Sprintf("plinth %s, ABI %d.%d", version(), abi.Version, abi.Minor)
}

// What tools/release builds says of itself; empty otherwise.
var released, revision string

// version is that of a release, or of the module that the program was built from.
func version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// source is where a command's configuration comes from.
type source struct {
	Config string            `help:"Configuration file, or \"-\" for standard input. By default, the built-in configuration." type:"path" env:"PLINTH_CONFIG" short:"c"`
	Set    map[string]string `help:"Set one value of the configuration, such as server.http=127.0.0.1:8000; may be repeated." placeholder:"PATH=VALUE"`

	content []byte // instead of a file; nil: there is none
}

// AfterApply reads a configuration that can be read only once.
func (s *source) AfterApply(e env) (err error) {
	s.Config, s.content, err = readOnce(s.Config, e.stdin)
	return err
}

// mostInput is the largest configuration that is read from a pipe, in bytes: one more than
// one may have.
const mostInput = 1<<20 + 1

// readOnce reads a configuration from standard input, which "-" names, or from a pipe. Of a
// file, content is nil.
func readOnce(path string, stdin io.Reader) (name string, content []byte, err error) {
	switch info, err := os.Stat(path); {
	case path == "-":
		path = "standard input"
	case err != nil || info.Mode()&os.ModeNamedPipe == 0:
		return path, nil, nil // it is read where its errors are reported
	default:
		f, err := os.Open(path)
		if err != nil {
			return path, nil, err
		}
		defer f.Close()
		stdin = f
	}
	content, err = io.ReadAll(io.LimitReader(stdin, mostInput))
	if content == nil {
		content = []byte{}
	}
	return path, content, err
}

func (s source) options(e env) []plinth.Option {
	opts := append(s.reading(e), plinth.WithCacheDir(cacheDir(e)))
	if self, err := os.Executable(); err == nil { // it is its own worker
		opts = append(opts, plinth.WithWorker(self))
	}
	return opts
}

// reading are the options by which a configuration is read.
func (s source) reading(e env) []plinth.Option {
	opts := append(backends(), plinth.WithEnviron(e.environ), plinth.WithOverrides(s.Set))
	if s.content != nil {
		opts = append(opts, plinth.WithContent(s.content))
	}
	return opts
}

// load reads the configuration, and opens nothing.
func (s source) load(e env) (*config.Config, error) { return plinth.Load(s.Config, s.reading(e)...) }

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
		fmt.Fprintln(e.stderr, "plinth: compiled plugins are not cached, so every start compiles them:", err)
		return ""
	}
	return dir
}

// listed puts a number before many errors.
func listed(err error) error {
	var many config.Errors
	if errors.As(err, &many) && len(many) > 1 {
		return fmt.Errorf("%d errors in the configuration:\n%w", len(many), err)
	}
	return err
}

// pipelineOf is a store's way down, such as "instrument → cache → memory".
func pipelineOf(s *plinth.Store) string {
	return strings.Join(append(s.Stages(), s.Plugin()), " → ")
}

type pluginInspectCmd struct {
	File   string            `arg:"" help:"Module or executable. \"memory\" and \"ledger\" name the built-in plugins."`
	Args   []string          `arg:"" optional:"" help:"Arguments of an executable, after --."`
	Config string            `help:"Plugin configuration, as a JSON object." placeholder:"JSON"`
	Env    map[string]string `help:"Environment variable for the plugin; may be repeated." placeholder:"NAME=VALUE"`
	NoTLS  bool              `name:"no-tls" help:"Start an executable without go-plugin's AutoMTLS."`
	Deep   bool              `help:"Also open the backend of an executable, in an empty folder."`
}

func (p *pluginInspectCmd) Run(ctx context.Context, e env) (err error) {
	t, err := pluginAt(p.File)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(e.stderr, nil))
	if t.module == nil {
		o := procs.Options{Name: filepath.Base(p.File), Command: append([]string{t.path}, p.Args...), Env: carrier.EnvOf(p.Env), Plaintext: p.NoTLS, Log: log}
		if t.env != nil {
			own := maps.Clone(t.env)
			maps.Copy(own, p.Env)
			o.Env = carrier.EnvOf(own)
		}
		process, err := procs.New(o)
		if err != nil {
			return err
		}
		if !p.Deep { // what its configuration names may be open elsewhere
			info, err := process.Try(ctx, []byte(p.Config))
			if errors.Is(err, storage.ErrUnsupported) {
				return fmt.Errorf("%w; use --deep to open it", err)
			} else if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "ABI:          v%d\n", abi.Version)
			printInfo(e.stdout, info)
			return nil
		}
		b, err := process.Open(ctx, "", []byte(p.Config))
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "ABI:          v%d, over %s\n", abi.Version, b.Plane())
		printInfo(e.stdout, b.Info())
		return b.Close(ctx)
	}
	r, err := wasmhost.NewRuntime(ctx, cacheDir(e))
	if err != nil {
		return err
	}
	if self, err := os.Executable(); err == nil {
		r.CompileBy(isolate.Compiler([]string{self}, isolate.DefaultBounds()))
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	m, err := r.Load(ctx, t.module, wasmhost.Options{Name: filepath.Base(p.File), Memory: 1 << 30, Env: carrier.EnvOf(p.Env), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	fmt.Fprintf(e.stdout, "sha256:       %s\nsize:         %d bytes\nABI:          v%d\n", m.Digest(), len(t.module), abi.Version)
	b, err := m.Open(ctx, []byte(p.Config))
	if err != nil {
		return fmt.Errorf("the module is a plugin, but opening it failed: %w", err)
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
