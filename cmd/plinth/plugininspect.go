package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

type pluginInspectCmd struct {
	File   string            `arg:"" help:"Module or executable. \"memory\" and \"ledger\" name the built-in plugins." type:"given"`
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
		args, err := absolute(p.Args)
		if err != nil {
			return err
		}
		o := procs.Options{Name: filepath.Base(p.File), Command: append([]string{t.path}, args...), Env: carrier.EnvOf(p.Env), Plaintext: p.NoTLS, Log: log}
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
		fmt.Fprintf(e.stdout, "ABI:          v%d, over %s\n", abi.Version, b.Transport())
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
