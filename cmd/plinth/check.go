package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/config/configtest"
	"github.com/plinthkv/plinth/otel/setup"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

type checkCmd struct {
	File string            `arg:"" optional:"" help:"Configuration file, or \"-\" for standard input." type:"path"`
	Test string            `help:"Run the tests in this file, which names its configuration." type:"path" placeholder:"FILE"`
	Set  map[string]string `help:"Set one value of the configuration; may be repeated." placeholder:"PATH=VALUE"`

	Deep    bool `help:"Also open backends of processes. Do not use it while a host with this configuration runs."`
	Explain bool `help:"Print the guarantees of each store, and the changes that each stage makes to them."`
	JSON    bool `name:"json" help:"Print a JSON object with errors, warnings and stores."`
}

func (c *checkCmd) Run(ctx context.Context, e env) (err error) {
	switch {
	case c.File == "" && c.Test == "":
		return usagef("check requires a configuration file, or --test and a file of tests")
	case c.File != "" && c.Test != "":
		return usagef("--test cannot be combined with a configuration file: the file of tests names it")
	case c.Test != "" && c.JSON:
		return usagef("--test cannot be combined with --json")
	case c.Test != "":
		return c.tests(ctx, e)
	}
	from := source{Config: c.File, Set: c.Set}
	if err := from.AfterApply(e); err != nil {
		return err
	}
	found := checked{File: from.Config, Version: version()}
	err = c.look(ctx, e, from, &found)
	if c.JSON {
		return found.print(e.stdout, err)
	}
	if err != nil {
		return err
	}
	for _, note := range found.Notes {
		fmt.Fprintf(e.stdout, "note: %s\n", note)
	}
	for _, warning := range found.Warnings {
		fmt.Fprintf(e.stdout, "warning: %s\n", warning)
	}
	for _, s := range found.Stores {
		s.print(e.stdout)
	}
	fmt.Fprintf(e.stdout, "%s: ok\n", found.File)
	return nil
}

// look finds what there is to say of a configuration. The error is what is wrong with it.
func (c *checkCmd) look(ctx context.Context, e env, from source, found *checked) (err error) {
	opts := from.options(e)
	if !c.Deep {
		opts = append(opts, plinth.WithTrial())
	}
	cfg, err := plinth.Load(from.Config, opts...)
	if cfg == nil {
		return listed(err)
	}
	setup.LogTo(cfg.Telemetry, slog.DiscardHandler, nil) // the warnings say it
	h, err := plinth.OpenConfig(ctx, cfg, append(opts, plinth.WithLogger(slog.New(slog.NewTextHandler(e.stderr, nil))))...)
	err = config.Join(err, setup.Validate(cfg.Telemetry)) // which only the program reads
	if h != nil {
		defer func() { err = errors.Join(err, h.Close(ctx)) }()
	}
	if err != nil {
		return listed(err)
	}
	for _, p := range h.Plugins() { // which serve only warns of
		if p.State == "failed" && len(p.Stores) == 0 {
			err = errors.Join(err, errors.New(p.Reason))
		}
	}
	if err != nil {
		return err
	}
	if cfg.Server.HTTP != "" || cfg.Server.GRPC != "" { // what "serve" would refuse
		if _, err := newListeners(cfg, server.Settings{}, grpcserver.Settings{}); err != nil {
			return err
		}
	}
	found.Warnings = setup.Warnings(cfg.Telemetry)
	found.notes(cfg)
	for _, s := range h.Stores() {
		found.store(s, c.Explain)
	}
	return nil
}

// checked is the result of check: as JSON, of format 1.
type checked struct {
	File     string         `json:"file"`
	Version  string         `json:"version"` // of the program
	OK       bool           `json:"ok"`
	Errors   []checkedError `json:"errors"`
	Warnings []string       `json:"warnings"`
	Notes    []string       `json:"notes"`
	Stores   []checkedStore `json:"stores"` // none if there are errors
}

// checkedError is an error, with its place as far as it is known.
type checkedError struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

type checkedStore struct {
	Name         string         `json:"name"`
	Stages       []string       `json:"stages"`
	Plugin       string         `json:"plugin"`
	Capabilities []string       `json:"capabilities"` // null: the backend was not opened
	Explained    []checkedWords `json:"guarantees,omitempty"`

	way     string // down the pipeline
	explain bool
	limits  string
}

// checkedWords are a guarantee of the backend, and what stages make of it.
type checkedWords struct {
	Of      string          `json:"of"`
	Backend string          `json:"backend"`
	Changes []checkedChange `json:"changes,omitempty"`
}

type checkedChange struct {
	Stage  string `json:"stage"`
	Weaker bool   `json:"weaker"`
	How    string `json:"how"`
}

// notes says what plugins may do that others may not.
func (f *checked) notes(cfg *config.Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		if cfg.Plugins[name].Text("trust") == "trusted" {
			f.Notes = append(f.Notes, fmt.Sprintf("plugin %s is trusted: it runs without interruption checks, so an endless loop hangs the whole process", name))
		}
		if cfg.Plugins[name].Has("process.command") {
			f.Notes = append(f.Notes, fmt.Sprintf("plugin %s is a process: it is not sandboxed, and has all the rights of this user, including files and network", name))
		}
	}
}

// store says what a store is.
func (f *checked) store(s *plinth.Store, explain bool) {
	is := checkedStore{Name: s.Name(), Stages: append([]string{}, s.Stages()...), Plugin: s.Plugin(), way: pipelineOf(s), explain: explain}
	for _, warning := range s.Warnings() {
		f.Warnings = append(f.Warnings, fmt.Sprintf("store %s: %s", s.Name(), warning))
	}
	if why := s.Untried(); why != nil {
		f.Notes = append(f.Notes, fmt.Sprintf("store %s: configuration and capabilities were not checked: %v; use --deep to open it while no host uses it", s.Name(), why))
	} else {
		info := s.Info()
		is.Capabilities, is.limits = append([]string{}, info.Caps.Names()...), limits(info.Limits)
		for _, p := range s.Promises() {
			if !explain {
				break
			}
			words := checkedWords{Of: p.Of.String(), Backend: p.Backend}
			for _, c := range p.Changes {
				words.Changes = append(words.Changes, checkedChange{c.Stage, c.Weaker, c.How})
			}
			is.Explained = append(is.Explained, words)
		}
	}
	f.Stores = append(f.Stores, is)
}

// print writes a store for people.
func (s *checkedStore) print(w io.Writer) {
	fmt.Fprintf(w, "store %s: %s\n", s.Name, s.way)
	can := "unknown: the backend was not opened"
	if s.Capabilities != nil {
		can = strings.Join(s.Capabilities, ",")
	}
	if !s.explain {
		fmt.Fprintf(w, "  can: %s\n", can)
		return
	}
	for _, words := range s.Explained {
		fmt.Fprintf(w, "  %-18s%s\n", words.Of+":", words.Backend)
		for _, c := range words.Changes {
			mark := "but"
			if c.Weaker {
				mark = "weaker"
			}
			fmt.Fprintf(w, "  %-18s%s, by %s: %s\n", "", mark, c.Stage, c.How)
		}
	}
	if s.limits != "" {
		fmt.Fprintf(w, "  %-18s%s\n", "limits:", s.limits)
	}
	fmt.Fprintf(w, "  %-18s%s\n", "can:", can)
}

// print writes everything as JSON, with what is wrong.
func (f *checked) print(w io.Writer, wrong error) error {
	var many config.Errors
	var one *config.Error
	switch {
	case wrong == nil:
		f.OK = true
	case errors.As(wrong, &many):
	case errors.As(wrong, &one):
		many = config.Errors{one}
	default:
		f.Errors = append(f.Errors, checkedError{Message: wrong.Error()})
	}
	for _, e := range many {
		f.Errors = append(f.Errors, checkedError{e.Pos.File, e.Pos.Line, e.Pos.Column, e.Path, e.Message})
	}
	for _, list := range []*[]string{&f.Warnings, &f.Notes} {
		*list = append([]string{}, *list...) // a list, not null
	}
	f.Errors, f.Stores = append([]checkedError{}, f.Errors...), append([]checkedStore{}, f.Stores...)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		return err
	}
	if _, err := w.Write(visible(text.Bytes())); err != nil || f.OK {
		return err
	}
	return &exitError{code: exitFailed}
}

// visible returns JSON with escapes for what cannot be seen, or moves what is around it.
func visible(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r == '\n' || strconv.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

func limits(l storage.Limits) string {
	return fmt.Sprintf("key %s, value %s, ops %s, write set %s, keys of a get %s",
		bound(l.Key, " bytes"), bound(l.Value, " bytes"), bound(l.Ops, ""), bound(l.WriteBytes, " bytes"), bound(l.GetKeys, ""))
}

// tests runs the tests of a file.
func (c *checkCmd) tests(ctx context.Context, e env) error {
	f, path, err := configtest.Load(c.Test)
	if err != nil {
		return listed(err)
	}
	opts := append(source{Config: path, Set: c.Set}.options(e), plinth.WithLogger(slog.New(slog.DiscardHandler)))
	failed := 0
	err = configtest.Run(ctx, f, path, trials(), opts, func(t *configtest.Test, err error) {
		if err != nil {
			failed++
			fmt.Fprintf(e.stdout, "FAIL %s\n     %v\n", t.Name, err)
			return
		}
		fmt.Fprintf(e.stdout, "ok   %s\n", t.Name)
	})
	switch {
	case err != nil:
		return listed(err)
	case failed > 0:
		return fmt.Errorf("%s: %d of %d tests failed", c.Test, failed, len(f.Tests))
	}
	fmt.Fprintf(e.stdout, "%s: %d tests passed\n", c.Test, len(f.Tests))
	return nil
}
