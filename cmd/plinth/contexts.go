package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

const contextHelp = `A context is a server with your credentials for it. Contexts are in contexts.yaml in the folder plinth of your configuration
folder (on Linux ~/.config/plinth), or in the file that PLINTH_CONTEXT_FILE names:

  contexts:
    local: { addr: http://127.0.0.1:7421 }
    prod:
      addr: https://kv.example.org:7421
      grpc: grpcs://kv.example.org:7420   # for commands that require gRPC, such as keys
      store: sessions
      token_file: prod.token              # mode 0600; the file of contexts never holds a token
      ca: ca.pem
      cert: me.pem
      key: me-key.pem

Only addr is required. Paths start from the folder of the file; ~/ is your home folder.

A command uses the context of --context, else that of PLINTH_CONTEXT, else the one that "plinth context use" has selected. A flag overrides
the same setting of the context, and so does a variable such as PLINTH_TOKEN, unless the context was named by --context, which is a flag itself.
With --addr or PLINTH_ADDR (for keys and audit also PLINTH_GRPC_ADDR), a command uses no context but that of --context, so that your token is sent to no other server.`

type contextCmd struct {
	List contextListCmd `cmd:"" help:"List the contexts of the file."`
	Use  contextUseCmd  `cmd:"" help:"Select the context of the commands that name none."`
	Show contextShowCmd `cmd:"" help:"Print a context. By default, the one in use."`
}

// Help returns the text that "plinth context --help" adds.
func (contextCmd) Help() string { return contextHelp }

type contextListCmd struct {
	Quiet bool `short:"q" help:"Print names only, one on each line."`
}

func (l *contextListCmd) Run(e env) error {
	f, err := readContexts()
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(f.Contexts))
	if l.Quiet {
		for _, name := range names {
			fmt.Fprintln(e.stdout, name)
		}
		return nil
	}
	if len(names) == 0 {
		fmt.Fprintf(e.stderr, "plinth: %s contains no contexts: see plinth context --help\n", f.path)
		return nil
	}
	current, err := inUse(f)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\tNAME\tADDRESS\tSTORE")
	for _, name := range names {
		mark := ""
		if name == current {
			mark = "*"
		}
		c := f.Contexts[name]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", mark, name, c.Addr, c.Store)
	}
	return t.Flush()
}

// inUse returns the name of the context of commands without --context and --addr, or "".
func inUse(f *contextFile) (string, error) {
	if name := os.Getenv("PLINTH_CONTEXT"); name != "" {
		return name, nil
	}
	return f.current()
}

type contextUseCmd struct {
	Name string `arg:"" optional:"" help:"Name of the context." values:"contexts"`
	None bool   `help:"Select no context."`
}

func (u *contextUseCmd) Run(e env) error {
	if (u.Name == "") != u.None {
		return usagef("context use requires the name of a context, or --none")
	}
	f, err := readContexts()
	if err != nil {
		return err
	}
	if u.None {
		return f.use("")
	}
	c, err := f.get(u.Name)
	if err != nil {
		return usagef("%w", err)
	}
	if err := f.use(u.Name); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "commands now use %s\n", c.Addr)
	for _, name := range []string{"PLINTH_ADDR", "PLINTH_GRPC_ADDR", "PLINTH_CONTEXT"} {
		if v := os.Getenv(name); v != "" && v != u.Name {
			fmt.Fprintf(e.stderr, "plinth: %s is set, and comes before the selected context\n", name)
		}
	}
	return nil
}

type contextShowCmd struct {
	Name string `arg:"" optional:"" help:"Name of the context." values:"contexts"`
}

func (s *contextShowCmd) Run(e env) error {
	f, err := readContexts()
	if err != nil {
		return err
	}
	name := s.Name
	if name == "" {
		if name, err = inUse(f); err != nil {
			return err
		}
	}
	if name == "" {
		return &exitError{exitNotFound, fmt.Errorf("no context is in use: commands call %s", defaultAddr)}
	}
	c, err := f.get(name)
	if err != nil {
		return usagef("%w", err)
	}
	return c.print(e.stdout, name)
}

func (c serverContext) print(w io.Writer, name string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, line := range [][2]string{{"name", name}, {"addr", c.Addr}, {"grpc", c.GRPC}, {"store", c.Store}, {"token_file", c.TokenFile},
		{"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key}} {
		if line[1] != "" {
			fmt.Fprintf(t, "%s:\t%s\n", line[0], line[1])
		}
	}
	return t.Flush()
}

// contextResolver fills in flags from a context: those with the tag context, whose value is
// the field. It keeps its error, which kong would put into a sentence about one flag.
type contextResolver struct {
	chosen *chosenContext
	err    error
}

// chosenContext is the context of one command.
type chosenContext struct {
	serverContext
	name     string          // empty if there is no context
	explicit bool            // it is named by --context, and comes before variables
	given    map[string]bool // fields that flags have set
}

// Validate has nothing to check.
func (*contextResolver) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag that the command line does not set.
func (r *contextResolver) Resolve(k *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	field, named, _ := strings.Cut(flag.Tag.Get("context"), ",")
	if field == "" || field == "name" || r.err != nil {
		return nil, r.err
	}
	if r.chosen == nil {
		if r.chosen, r.err = choose(k); r.err != nil {
			return nil, r.err
		}
	}
	c := r.chosen
	if c.name == "" || named != "" && !c.explicit || c.set(field, flag) {
		return nil, nil
	}
	var value string
	if value, r.err = c.value(field); r.err != nil || value == "" {
		return nil, r.err
	}
	return value, nil
}

// choose reads the context of a command, if it has one.
func choose(k *kong.Context) (*chosenContext, error) {
	c := &chosenContext{given: map[string]bool{}}
	for _, p := range k.Path {
		if p.Flag == nil || p.Resolved {
			continue
		}
		field, _, _ := strings.Cut(p.Flag.Tag.Get("context"), ",")
		if c.given[field] = true; field == "name" {
			c.name, _ = k.FlagValue(p.Flag).(string)
		}
	}
	c.explicit = c.given["name"]
	_, elsewhere := os.LookupEnv("PLINTH_ADDR")
	for _, flag := range k.Flags() {
		if flag.Tag.Get("context") == "grpc" {
			_, over := os.LookupEnv("PLINTH_GRPC_ADDR")
			elsewhere = elsewhere || over
		}
	}
	elsewhere = elsewhere || c.given["addr"] || c.given["http"] || c.given["grpc"]
	if elsewhere && !c.explicit {
		return c, nil
	}
	f, err := readContexts()
	if err != nil {
		return nil, err
	}
	if !c.explicit {
		if c.name, err = inUse(f); err != nil || c.name == "" {
			return c, err
		}
	}
	if c.serverContext, err = f.get(c.name); err != nil {
		return nil, err
	}
	return c, nil
}

// rivals are the fields that a field must not be combined with.
var rivals = map[string][]string{"token_file": {"token"}, "cert": {"key"}, "key": {"cert"}}

// rivalVariables are the variables of rivals.
var rivalVariables = map[string]string{"token": "PLINTH_TOKEN", "cert": "PLINTH_CERT", "key": "PLINTH_KEY"}

// set reports whether something before the context sets a field, or one that it must not
// be combined with.
func (c *chosenContext) set(field string, flag *kong.Flag) bool {
	variables := flag.Envs
	for _, rival := range rivals[field] {
		if c.given[rival] {
			return true
		}
		variables = append(slices.Clone(variables), rivalVariables[rival])
	}
	return !c.explicit && slices.ContainsFunc(variables, func(name string) bool { _, ok := os.LookupEnv(name); return ok })
}

// value returns a field, or "" if the context does not set it.
func (c *chosenContext) value(field string) (string, error) {
	switch field {
	case "addr":
		return c.Addr, nil
	case "http":
		if overGRPCOnly(c.Addr) {
			return "", fmt.Errorf("context %s: this command requires HTTP, and addr is %s: set addr to the HTTP address, and grpc to this one", c.name, c.Addr)
		}
		return c.Addr, nil
	case "grpc":
		if c.GRPC != "" {
			return c.GRPC, nil
		}
		if !overGRPCOnly(c.Addr) {
			return "", fmt.Errorf("context %s: this command requires gRPC: set grpc, for example to grpcs://HOST:7420", c.name)
		}
		return c.Addr, nil
	}
	return map[string]string{"store": c.Store, "token_file": c.TokenFile, "ca": c.CA, "cert": c.Cert, "key": c.Key}[field], nil
}
