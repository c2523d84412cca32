package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier/native"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/storage/storagetest"
)

type pluginTestCmd struct {
	File    string            `arg:"" help:"Module or executable. \"memory\" names the built-in module." type:"given"`
	Args    []string          `arg:"" optional:"" passthrough:"partial" help:"Arguments of an executable, after --."`
	Config  string            `help:"Plugin configuration, as a JSON object." placeholder:"JSON"`
	Except  []string          `help:"Check or category of checks that is known to fail, with the reason; may be repeated." placeholder:"CATEGORY[/CHECK]=REASON" sep:"none"`
	Env     map[string]string `help:"Environment variable for the plugin; may be repeated." placeholder:"NAME=VALUE"`
	NoTLS   bool              `name:"no-tls" help:"Start an executable without go-plugin's AutoMTLS, as process: { tls: off } does."`
	Plain   bool              `help:"Call an executable over gRPC, even if it supports frames."`
	Only    string            `name:"run" help:"Run only the checks whose CATEGORY/CHECK matches." placeholder:"REGEXP"`
	Fast    bool              `name:"fail-fast" help:"Stop after the first check that fails."`
	Memory  config.Bytes      `help:"Linear memory of a module, as set by limits.memory; by default as there, 64MiB." placeholder:"SIZE"`
	JSON    bool              `name:"json" help:"Print the report as one JSON object."`
	Verbose bool              `short:"v" help:"Print every check, and the plugin's log."`
}

// Help returns the text that "plinth plugin test --help" adds.
func (*pluginTestCmd) Help() string {
	return `Sends requests that no host would send: with wrong headers, kinds, lengths and fields, beyond the plugin's limits and budgets,
truncated and mutated. Then runs the conformance kit that all of Plinth's own backends pass, including random scripts
against a reference model and concurrent histories that must be linearizable. Fills a plugin whose space ends within
256 MiB. Checks of capabilities that the plugin does not report are skipped. A module gets the memory that serve gives
it; an executable is started about 30 times. Exits with 1 if a check fails.`
}

func (p *pluginTestCmd) Run(ctx context.Context, e env) error {
	t, err := pluginAt(p.File)
	if err != nil {
		return err
	}
	if t.env != nil {
		return usagef("%s cannot be tested here: it stores items in a cluster with its own clock, but the kit requires an empty store for each check and controls the clock; its own tests run the kit over a cluster", p.File)
	}
	o := plugintest.Options{Name: filepath.Base(p.File), Env: p.Env, Plaintext: p.NoTLS, Plain: p.Plain, FailFast: p.Fast, Memory: uint64(p.Memory)}
	if p.Only != "" {
		only, err := regexp.Compile(p.Only)
		if err != nil {
			return usagef("--run: %v", err)
		}
		o.Only = func(category, check string) bool { return only.MatchString(category + "/" + check) }
	}
	if p.Config != "" {
		o.Config = json.RawMessage(p.Config)
	}
	for _, one := range p.Except {
		name, reason, ok := strings.Cut(one, "=")
		if !ok || reason == "" {
			return usagef("--except %q has no reason: must be CATEGORY[/CHECK]=REASON", one)
		}
		o.Except = append(o.Except, storagetest.Except(name, reason))
	}
	if p.Verbose {
		o.Log = slog.New(slog.NewTextHandler(e.stderr, nil))
	}
	if !p.JSON {
		o.Each = func(r storagetest.Result) { p.tell(e.stdout, r) }
	}
	var report *plugintest.Report
	if t.module != nil {
		o.CacheDir = cacheDir(e)
		if p.File == config.Memory && o.Memory == 0 {
			o.Memory = wasmhost.BuiltInMemory
		}
		if self, err := os.Executable(); err == nil {
			o.Worker = []string{self}
		}
		report, err = plugintest.Run(ctx, t.module, o)
	} else {
		args, err2 := absolute(p.Args)
		if err2 != nil {
			return err2
		}
		report, err = plugintest.RunProcess(ctx, append([]string{t.path}, args...), o)
	}
	if err != nil {
		return err
	}
	if p.JSON {
		if err := printReport(e.stdout, report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(e.stdout, "\n%s %s: %d passed, %d failed, %d not applicable, %d excepted\n", report.Name, report.Version,
			report.Count(storagetest.Passed), report.Count(storagetest.Failed), report.Count(storagetest.NotApplicable), report.Count(storagetest.Excepted))
	}
	if !report.OK() {
		return &exitError{code: exitFailed}
	}
	return nil
}

// pluginFile is the argument of a command: a module, or an executable.
type pluginFile struct {
	module []byte            // nil for an executable
	path   string            // of that, with a separator in it
	env    map[string]string // makes the executable a plugin; optional
}

// pluginAt returns the plugin that a command's argument names.
func pluginAt(file string) (pluginFile, error) {
	if file == config.Memory {
		return pluginFile{module: module.Wasm}, nil
	}
	if slices.Contains(builtinBackends(), file) {
		self, err := os.Executable()
		return pluginFile{path: self, env: native.WorkerEnv(file)}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return pluginFile{}, err
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return pluginFile{}, fmt.Errorf("%s: %w", file, err)
	}
	info, err := f.Stat()
	if err != nil {
		return pluginFile{}, err
	}
	if string(head) != "\x00asm" && info.Mode()&0o111 != 0 {
		path, err := filepath.Abs(file)
		return pluginFile{path: path}, err
	}
	if string(head) != "\x00asm" && filepath.Ext(file) != ".wasm" && info.Mode().IsRegular() {
		return pluginFile{}, fmt.Errorf("%s is not executable, and no WebAssembly module: run chmod +x if it is a program", file)
	}
	binary, err := os.ReadFile(file)
	return pluginFile{module: binary}, err
}

// absolute resolves the arguments that are written as paths, as in a configuration: a plugin
// runs in a folder of its own.
func absolute(args []string) ([]string, error) {
	all := slices.Clone(args)
	if len(all) > 0 && all[0] == "--" { // which kong leaves before arguments that it passes through
		all = all[1:]
	}
	for i, arg := range all {
		if !strings.HasPrefix(arg, "./") && !strings.HasPrefix(arg, "../") {
			continue
		}
		path, err := filepath.Abs(arg)
		if err != nil {
			return nil, err
		}
		all[i] = path
	}
	return all, nil
}

// tell prints failures and exceptions, and with --verbose every result.
func (p *pluginTestCmd) tell(w io.Writer, r storagetest.Result) {
	if r.Outcome != storagetest.Failed && r.Outcome != storagetest.Excepted && !p.Verbose {
		return
	}
	fmt.Fprintf(w, "%-14s %s/%s (%s)\n", r.Outcome, r.Category, r.Name, r.Took.Round(1e6))
	if r.Text != "" {
		fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(strings.TrimSpace(r.Text), "\n", "\n    "))
	}
}

// printReport prints the report as JSON.
func printReport(w io.Writer, r *plugintest.Report) error {
	type result struct {
		Category string  `json:"category"`
		Check    string  `json:"check"`
		Outcome  string  `json:"outcome"`
		Text     string  `json:"text,omitempty"`
		Seconds  float64 `json:"seconds"`
	}
	out := struct {
		Name         string   `json:"name"`
		Version      string   `json:"version"`
		SHA256       string   `json:"sha256"`
		Size         int      `json:"size"`
		Capabilities []string `json:"capabilities"`
		OK           bool     `json:"ok"`
		Results      []result `json:"results"`
	}{r.Name, r.Version, r.SHA256, r.Size, r.Caps.Names(), r.OK(), nil}
	for _, one := range r.Results {
		out.Results = append(out.Results, result{one.Category, one.Name, strings.ReplaceAll(one.Outcome.String(), " ", "_"), one.Text, one.Took.Seconds()})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
