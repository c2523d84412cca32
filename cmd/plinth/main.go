package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/quiet"
)

// Exit codes, as every command has them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitConflict = 4
)

func main() {
	quiet.End()
	plinth.RunWorker(backends()...)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) && !(len(os.Args) > 1 && os.Args[1] == "serve") { // nohup has it ignored; serve reloads
		ends = append(ends, syscall.SIGHUP)
	}
	os.Exit(run(untilSignal(ends...), os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// untilSignal returns a context that the first of these signals ends. The second ends the
// program at once, from the moment at which the context's end can be seen.
func untilSignal(signals ...os.Signal) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, signals...)
	go func() {
		<-heard
		signal.Stop(heard)
		if len(heard) > 0 { // the second came before Stop
			os.Exit(exitFailed)
		}
		cancel()
	}()
	return ctx
}

// env is the environment of a command, in addition to its arguments.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	uncached       *sync.Once   // to say that compiled plugins are not cached; run sets it
	log            *slog.Logger // where else than to stderr to say so; optional
}

// exitError ends the program with a code.
type exitError struct {
	code int
	err  error // nil if there is nothing to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// run runs the program, for tests too.
func run(ctx context.Context, args []string, e env) int {
	e.uncached = new(sync.Once)
	var c cli
	var contexts contextResolver
	left := -1
	parser, err := kong.New(&c,
		kong.Name("plinth"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(e.stdout, e.stderr), kong.Exit(func(code int) { left = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "serving", Title: "Serving"},
			{Key: "data", Title: "Data of a served store"},
			{Key: "move", Title: "Backup and migration"},
			{Key: "auth", Title: "Signing keys and audit"},
			{Key: "info", Title: "Inspection"},
		}),
		kong.KindMapper(reflect.String, kong.MapperFunc(asItIs)), kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
		kong.NamedMapper("at", kong.MapperFunc(at)), kong.NamedMapper("slug", kong.MapperFunc(slug)),
		kong.NamedMapper("given", kong.MapperFunc(given)),
		kong.NamedMapper("path", kong.MapperFunc(path)), kong.NamedMapper("existingdir", kong.MapperFunc(existingDir)),
		kong.Vars{"default_addr": defaultAddr}, kong.Resolvers(&contexts),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(e))
	if err != nil {
		fmt.Fprintln(e.stderr, "plinth:", err)
		return exitFailed
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "--version": // a flag of that name is one of cas
		args = append([]string{"version"}, args[1:]...)
	}
	command, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if contexts.err != nil {
		fmt.Fprintln(screen{e.stderr}, "plinth:", contexts.err)
		return exitUsage
	}
	if err != nil {
		what, help := usage(err)
		fmt.Fprintf(screen{e.stderr}, "plinth: %s\nplinth: try %q\n", what, help)
		return exitUsage
	}
	if word, _, _ := strings.Cut(command.Command(), " "); !printsBytes[word] {
		e.stdout = screen{e.stdout}
		command.Bind(e)
	}
	if err = command.Run(); err == nil {
		return exitDone
	}
	var exit *exitError
	code := exitFailed
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" && command.Command() == "serve" && c.Serve.Log == "json" {
		c.Serve.logger(e.stderr).Error("serve failed", "error", text)
	} else if text != "" {
		fmt.Fprintln(screen{e.stderr}, "plinth:", text)
	}
	return code
}

// printsBytes lists the commands whose output is data, and is not escaped.
var printsBytes = map[string]bool{"get": true, "scan": true, "export": true, "config": true, "completion": true}
