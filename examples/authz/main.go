// Command authz is a small authorization service on a Plinth store, for reading and copying:
// see README.md.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/examples/authz/engine"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/otel/setup"
)

//go:embed authz.yaml
var onMemory []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "authz:", err)
		os.Exit(1)
	}
}

// run runs a command; without one, serve.
func run(ctx context.Context, args []string, out, logs io.Writer) error {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("authz "+command, flag.ContinueOnError)
	flags.SetOutput(logs)
	switch command {
	case "serve":
		return serve(ctx, flags, args, out, logs)
	case "keygen":
		return keygen(flags, args, out)
	case "token":
		return signToken(flags, args, out)
	}
	return fmt.Errorf("unknown command %q: expected serve, keygen or token", command)
}

// keygen writes a private key to a file and prints the public one.
func keygen(flags *flag.FlagSet, args []string, out io.Writer) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("keygen expects the file for the private key")
	}
	k, err := newKey(flags.Arg(0))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, text(k))
	return err
}

// signToken prints a token, as a client would make it.
func signToken(flags *flag.FlagSet, args []string, out io.Writer) error {
	var org identity.OrganizationSlug
	file, kid := flags.String("key", "", "file of the private key"), flags.String("kid", operatorKid, "its kid")
	audience, subject := flags.String("for", token.Control, "API: control or engine"), flags.String("subject", "me", "who calls, for the audit log")
	ttl := flags.Duration("ttl", 15*time.Minute, "lifetime, at most 1h")
	flags.TextVar(&org, "org", identity.OrganizationSlug(1), "slug of the organization; 1 is that of operators")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := readKey(*file)
	if err != nil {
		return err
	}
	signed, err := token.Sign(key, *kid, org, *audience, *subject, time.Now(), *ttl)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, signed)
	return err
}

// serve serves both APIs until ctx ends.
func serve(ctx context.Context, flags *flag.FlagSet, args []string, out, logs io.Writer) (err error) {
	file := flags.String("config", "", "configuration of the stores, in YAML; without one, they are in memory")
	listen := flags.String("listen", "127.0.0.1:7430", "address to serve HTTP on")
	operator := flags.String("operator", "", "public key of the first operator, as keygen prints it; without one, and without one in the store, a key is made")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var options []plinth.Option
	if *file == "" {
		options = append(options, plinth.WithContent(onMemory))
	}
	if dir, err := os.UserCacheDir(); err == nil {
		options = append(options, plinth.WithCacheDir(filepath.Join(dir, "plinth", "wasm")))
	}
	options = append(options, plinth.WithEnviron(os.Environ()))
	cfg, err := plinth.Load(*file, append(backends(), options...)...)
	if err != nil {
		return err
	}
	tel, err := setup.Setup(ctx, cfg.Telemetry, setup.Settings{Service: "authz"})
	if err != nil {
		return err
	}
	ending := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, tel.Shutdown(ending)) }()
	log := slog.New(tel.Handler(slog.NewTextHandler(logs, nil)))
	sv, err := newService(ctx, cfg, settings{log: log, tracer: tel.Tracer, meter: tel.Meter, limits: engine.DefaultLimits()}, options...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sv.close(ending)) }()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	if err := sv.begin(ctx, *operator, l.Addr(), out); err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/", sv.router)
	mux.HandleFunc("GET /healthz", sv.health)
	if tel.Metrics != nil {
		mux.Handle("GET /metrics", tel.Metrics)
	}
	return serveHTTP(ctx, l, mux)
}

// begin prints the address, and stores the first operator's key, a new one if need be.
func (sv *service) begin(ctx context.Context, operator string, at net.Addr, out io.Writer) error {
	fmt.Fprintf(out, "authz: serving on http://%s, on %s\n", at, sv.store.Info().Name)
	if operator != "" {
		public, err := auth.ParsePublicKey(operator)
		if err != nil {
			return err
		}
		return sv.firstOperator(ctx, public)
	}
	if there, err := sv.hasOperator(ctx); there || err != nil {
		return err
	}
	path, public, err := newOperator()
	if err != nil {
		return err
	}
	if err := sv.firstOperator(ctx, public); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, `There is no operator yet, so that a key was made for one: %s
Create an organization with it:
  TOKEN=$(go run ./examples/authz token -key %s)
  curl -H "Authorization: Bearer $TOKEN" -d '{"name": "acme"}' http://%s/control/v1/organizations
`, path, path, at)
	return err
}

// serveHTTP serves until ctx ends, and then waits for requests under way.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	web := &http.Server{Handler: h, MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		ended <- web.Shutdown(ctx)
	})
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-ended
}
