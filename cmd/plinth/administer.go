package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth/host"
)

// adminServer is the server that a command administers.
type adminServer struct {
	Addr string `help:"Address of the server: http://HOST:PORT, https://…, or unix:PATH." default:"${default_addr}" env:"PLINTH_ADDR" context:"http"`
	credentials
}

// ask sends a request and decodes the answer into v.
func (a adminServer) ask(ctx context.Context, method, path string, body []byte, v any) error {
	if strings.HasPrefix(a.Addr, "grpc") {
		return usagef("--addr %q: this command requires HTTP: set it to http://HOST:PORT, https://HOST:PORT or unix:PATH", a.Addr)
	}
	c, err := endpoint(a).http("/v1/admin")
	if err != nil {
		return err
	}
	defer c.close()
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = 0 // gate: full takes minutes
	}
	res, err := c.do(ctx, method, path, nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(io.LimitReader(res.Body, mostAnswer)).Decode(v)
}

// mostAnswer is the largest answer that is read, in bytes.
const mostAnswer = 64 << 20

type reloadCmd struct {
	Server adminServer `embed:""`
	JSON   bool        `help:"Print the changes as JSON."`
}

func (r *reloadCmd) Run(ctx context.Context, e env) error {
	var a changesAnswer
	if err := r.Server.ask(ctx, http.MethodPost, "/reload", nil, &a); err != nil {
		return err
	}
	return printChanges(e.stdout, a, r.JSON, fmt.Sprintf("generation %d is in force", a.Generation))
}

type pluginRestartCmd struct {
	Name   string      `arg:"" help:"Name of the plugin in the configuration."`
	Server adminServer `embed:""`
	JSON   bool        `help:"Print the changes as JSON."`
}

func (p *pluginRestartCmd) Run(ctx context.Context, e env) error {
	var a changesAnswer
	if err := p.Server.ask(ctx, http.MethodPost, "/plugins/"+url.PathEscape(p.Name)+"/restart", nil, &a); err != nil {
		return err
	}
	return printChanges(e.stdout, a, p.JSON, fmt.Sprintf("generation %d is in force", a.Generation))
}

type configDiffCmd struct {
	File   string      `arg:"" optional:"" help:"Configuration file to compare with the one in force. By default, the server's own file as it is now." type:"path"`
	Server adminServer `embed:""`
	JSON   bool        `help:"Print the changes as JSON."`
}

func (c *configDiffCmd) Run(ctx context.Context, e env) error {
	var content []byte
	if c.File != "" {
		var err error
		if content, err = os.ReadFile(c.File); err != nil {
			return err
		}
	}
	var a changesAnswer
	if err := c.Server.ask(ctx, http.MethodPost, "/plan", content, &a); err != nil {
		return err
	}
	return printChanges(e.stdout, a, c.JSON, "")
}

// printChanges prints what a reload did or would do, for people or as JSON.
func printChanges(w io.Writer, a changesAnswer, asJSON bool, after string) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(a)
	}
	if a.Changes.None() {
		fmt.Fprintln(w, "nothing changes")
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, p := range a.Changes.Plugins {
		if p.Action != host.Kept {
			fmt.Fprintf(t, "%s\tplugin %s\t\n", p.Action, p.Name)
		}
	}
	for _, s := range a.Changes.Stores {
		if s.Action == host.Kept {
			continue
		}
		fmt.Fprintf(t, "%s\tstore %s\t%s\n", s.Action, s.Name, consequences(s))
		for _, stage := range s.Stages {
			fmt.Fprintf(t, "  %s\tstage %s\t%s\n", stage.Action, stage.Name, map[host.Action]string{host.Rebuilt: "keeps its state"}[stage.Action])
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if after != "" {
		fmt.Fprintln(w, after)
	}
	return nil
}

// consequences returns the effects of a change on the callers of a store.
func consequences(s host.StoreChange) string {
	var all []string
	switch s.Items {
	case "lost":
		all = append(all, "its items are lost")
	case "transferred":
		all = append(all, "its items move along")
	case "left":
		all = append(all, "its items stay where they are")
	}
	if s.Waits {
		all = append(all, "its calls wait meanwhile")
	}
	return strings.Join(all, ", ")
}

type statusCmd struct {
	Server adminServer `embed:""`
	JSON   bool        `help:"Print the status as JSON."`
}

func (s *statusCmd) Run(ctx context.Context, e env) error {
	var is status
	if err := s.Server.ask(ctx, http.MethodGet, "/status", nil, &is); err != nil {
		return err
	}
	if s.JSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(is)
	}
	return is.print(e.stdout)
}

// print prints the status for people.
func (s *status) print(w io.Writer) error {
	file := s.Config
	if file == "" {
		file = "the built-in configuration"
	}
	fmt.Fprintf(w, "plinth %s, %s, generation %d since %s\n", s.Version, file, s.Generation, s.Since.Format(time.RFC3339))
	if r := s.Reload; r != nil {
		if r.OK {
			fmt.Fprintf(w, "last reload: %s, %.3f s: %s\n", r.At.Format(time.RFC3339), r.Seconds, r.Changes)
		} else {
			fmt.Fprintf(w, "last reload: %s, refused:\n  %s\n", r.At.Format(time.RFC3339), strings.Join(r.Errors, "\n  "))
		}
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTORE\tSTATUS\tBACKEND\tPIPELINE\tREASON")
	for _, st := range s.Stores {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", st.Name, st.Status, st.Plugin, strings.Join(st.Stages, " → "), st.Reason)
	}
	fmt.Fprintln(t, "\nPLUGIN\tSTATE\tCARRIER\tSHA-256\tRESTARTS\tREASON")
	for _, p := range s.Plugins {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.12s\t%d\t%s\n", p.Name, p.State, p.Carrier, p.SHA256, p.Restarts, p.Reason)
	}
	return t.Flush()
}
