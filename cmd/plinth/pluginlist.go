package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
)

type pluginListCmd struct {
	Source source `embed:""`
	Addr   string `help:"HTTP address of a running server, to list what it serves. By default, PLINTH_ADDR or that of the context in use, unless --config names a configuration." placeholder:"URL" context:"http,named" type:"given"`
	credentials
}

// Help returns the text that "plinth plugin list --help" adds.
func (*pluginListCmd) Help() string {
	return `Without a server and --config, lists the built-in configuration. With a server, lists its stores with their backends and states; with
--config too, lists the plugins of the configuration, with their states on that server.

Capabilities of built-in plugins are listed for their default configuration. "check --explain" prints those of a configured store,
and "plugin inspect" those of a plugin in a file.

The states are starting, ready, degraded, restarting, failed and stopped. Each store has its own instance of a plugin,
with its own state.`
}

func (p *pluginListCmd) Run(ctx context.Context, e env) error {
	ofFile := p.Source.Config != "" || len(p.Source.Set) > 0
	if p.Addr == "" && !ofFile {
		var err error
		if p.Addr, err = serverInUse(); err != nil {
			return err
		}
	}
	var states map[string]string // by store; nil if no server was asked
	if p.Addr != "" {
		var err error
		if states, err = p.states(ctx); err != nil {
			return err
		}
		if !ofFile {
			return p.ofServer(ctx, e.stdout, states)
		}
	}
	cfg, err := p.Source.load(e)
	if err != nil {
		return listed(err)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
	head := "NAME\tCARRIER\tFILE\tTRUST\tUSED BY"
	if states != nil {
		head += "\tSTATE"
	}
	fmt.Fprintln(t, head)
	names := slices.Collect(maps.Keys(cfg.Plugins))
	for _, name := range append(builtinBackends(), config.Memory) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		carrier, file, trust := described(name, cfg)
		var users, is []string
		for _, store := range slices.Sorted(maps.Keys(cfg.Stores)) {
			if cfg.Stores[store].Backend.Plugin == name {
				users = append(users, store)
				is = append(is, cmp.Or(states[store], "not served"))
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s", name, carrier, file, trust, strings.Join(users, ", "))
		if states != nil {
			fmt.Fprintf(t, "\t%s", strings.Join(is, ", "))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printEngines(e.stdout)
}

// serverInUse returns the HTTP address of PLINTH_ADDR or of the context in use, or "". The
// credentials of that context are in the flags.
func serverInUse() (string, error) {
	if addr, ok := os.LookupEnv("PLINTH_ADDR"); ok {
		if addr == "" {
			return "", usagef("PLINTH_ADDR is empty")
		}
		return addr, nil
	}
	f, err := readContexts()
	if err != nil {
		return "", err
	}
	name, err := inUse(f)
	if err != nil || name == "" {
		return "", err
	}
	c, err := f.get(name)
	if err != nil {
		return "", err
	}
	return (&chosenContext{serverContext: c, name: name}).value("http")
}

// ofServer prints the stores of the server, with their backends and states.
func (p *pluginListCmd) ofServer(ctx context.Context, to io.Writer, states map[string]string) error {
	c, err := p.http("/v1/stores")
	if err != nil {
		return err
	}
	defer c.http.CloseIdleConnections()
	answer, err := c.do(ctx, http.MethodGet, "", nil, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var served struct {
		Stores []struct {
			Name, Backend string
			Capabilities  []string
		}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, mostAnswer)).Decode(&served); err != nil {
		return fmt.Errorf("%s did not respond as a Plinth server: %w", p.Addr, err)
	}
	t := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tBACKEND\tSTATE\tCAPABILITIES")
	for _, s := range served.Stores {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.Backend, cmp.Or(states[s.Name], "unknown"), strings.Join(s.Capabilities, ", "))
	}
	return t.Flush()
}

// http returns the server that the flags name, from a path on.
func (p *pluginListCmd) http(path string) (*httpStore, error) {
	if overGRPCOnly(p.Addr) {
		return nil, usagef("--addr %q: this command requires HTTP: set it to http://HOST:PORT, https://HOST:PORT or unix:PATH", p.Addr)
	}
	return endpoint{p.Addr, p.credentials}.http(path)
}

// states returns the states of the plugins of the server, by store.
func (p *pluginListCmd) states(ctx context.Context) (map[string]string, error) {
	c, err := p.http("/readyz")
	if err != nil {
		return nil, err
	}
	defer c.http.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base, nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var ready struct {
		Stores map[string]struct {
			Status  string
			Details map[string]string
		}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 16<<20)).Decode(&ready); err != nil {
		return nil, fmt.Errorf("%s did not respond as a Plinth server: %w", p.Addr, err)
	}
	if len(ready.Stores) == 0 {
		return nil, fmt.Errorf("%s did not list its stores: pass its token with --token", p.Addr)
	}
	states := make(map[string]string, len(ready.Stores))
	for name, s := range ready.Stores {
		states[name] = cmp.Or(s.Details["state"], s.Status)
	}
	return states, nil
}

// described returns the carrier of a plugin, its file or address, and how far it is
// trusted.
func described(name string, cfg *config.Config) (carrier, file, trust string) {
	node := cfg.Plugins[name]
	isolation := node.Text("isolation")
	switch {
	case node.Has("remote"):
		return host.CarrierRemote, node.Text("remote"), "-"
	case node.Has("process.command"):
		var command []string
		for i := 0; node.Has(fmt.Sprintf("process.command[%d]", i)); i++ {
			command = append(command, node.Shown(fmt.Sprintf("process.command[%d]", i)))
		}
		return host.CarrierProcess, strings.Join(command, " "), "can be killed"
	case isolation == "process", isolation == "" && isolatedByDefault(name):
		carrier, trust = host.CarrierProcess, "can be killed"
	case slices.Contains(builtinBackends(), name):
		carrier, trust = host.CarrierNative, "built in"
	case node.Has("wasm"):
		carrier, trust = host.CarrierWasm, cmp.Or(node.Text("trust"), "interruptible")
	default:
		carrier, trust = host.CarrierWasm, "built in"
	}
	return carrier, cmp.Or(cfg.Path(node.Text("wasm")), "built in"), trust
}
