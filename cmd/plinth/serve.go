package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/otel/setup"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
)

type serveCmd struct {
	Source source  `embed:""`
	Watch  bool    `help:"Reload when the configuration file, a file that it refers to, or a plugin's file changes."`
	Data   string  `help:"Store the built-in store durably in this folder, instead of in memory." placeholder:"DIR" type:"given"`
	HTTP   *string `name:"http" help:"HTTP address, HOST:PORT or unix:PATH, instead of the configured one; \"\" for none." placeholder:"ADDR"`
	GRPC   *string `name:"grpc" help:"gRPC address, HOST:PORT or unix:PATH, instead of the configured one; \"\" for none." placeholder:"ADDR"`
	Log    string  `help:"Log format: text or json." enum:"text,json" default:"text" env:"PLINTH_LOG"`
	Level  *string `name:"log-level" help:"Lowest level to log, instead of the configured one: debug, info, warn or error." placeholder:"LEVEL" env:"PLINTH_LOG_LEVEL"`

	level slog.LevelVar // in force
}

func (s *serveCmd) Run(ctx context.Context, e env) (err error) {
	if s.Level != nil && new(slog.Level).UnmarshalText([]byte(*s.Level)) != nil {
		return usagef("%s is %q, it must be debug, info, warn or error", named("--log-level", "PLINTH_LOG_LEVEL", *s.Level), *s.Level)
	}
	for name, value := range map[string]*string{"server.http": s.HTTP, "server.grpc": s.GRPC, "log.level": s.Level} {
		if value == nil {
			continue
		}
		if s.Source.Set == nil {
			s.Source.Set = map[string]string{}
		}
		s.Source.Set[name] = *value
	}
	// A reader of its output that goes away ends no server: only what it would have read is
	// lost. What this process starts does not inherit it.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	reloads := make(chan os.Signal, 1) // also of one that comes while it starts
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)
	go reapOrphans(ctx)
	handler := s.handler(e.stderr)
	if s.Log == "json" {
		e.log = s.logger(e.stderr)
	}
	if s.Data != "" {
		if err := s.onData(); err != nil {
			return err
		}
	}
	cfg, err := plinth.Load(s.Source.Config, s.Source.options(e)...)
	if cfg == nil {
		return listed(err)
	}
	s.logFrom(cfg)
	clean := setup.LogTo(cfg.Telemetry, handler, withoutSecrets)
	tel, forPlugins, err := s.telemetry(ctx, e, cfg)
	if err != nil {
		return listed(err)
	}
	log := slog.New(tel.Handler(handler))
	for _, warning := range tel.Warnings {
		log.Warn("telemetry", "warning", warning)
	}
	defer func() { // last, so that it reports what ends before
		if err := shutTelemetry(tel); err != nil {
			slog.New(handler).Warn("not all telemetry was sent", "error", clean(err.Error()))
		}
	}()
	opts := append(s.Source.options(e), plinth.WithLogger(log), plinth.WithTracerProvider(tel.Tracer), plinth.WithMeterProvider(tel.Meter), plinth.WithPluginTelemetry(forPlugins), plinth.WithKit(s.kit(e)))
	h, err := plinth.OpenConfig(ctx, cfg, opts...)
	switch {
	case err != nil && ctx.Err() != nil: // what it says is that it was ended
		if e.log != nil {
			e.log.Info("stopped before it was ready")
		} else {
			fmt.Fprintln(e.stderr, "plinth: stopped before it was ready")
		}
		return nil
	case err != nil:
		return listed(err)
	}
	// The signal that ends serving must not cut short what it leaves to do.
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	r := &reloader{host: h, log: log, load: s.loader(e), manager: manager{log}, inForce: s.logFrom}
	r.warn()
	web := serverSettings(h, log, tel)
	web.Memory, web.Admin = memoryOf(cfg.Server), r.admin()
	l, err := newListeners(cfg, web, grpcserver.Settings{Stores: web.Stores, Shared: shared(h),
		Log: log, Memory: web.Memory, Tracer: tel.Tracer, Meter: tel.Meter})
	if err != nil {
		return err
	}
	if err := l.listen(); err != nil {
		return err
	}
	r.listeners = l
	defer r.follow(ctx, reloads, s.Watch)()
	s.ready(e.stdout, l, h)
	r.manager.ready(h)
	defer context.AfterFunc(ctx, r.manager.stopping)()
	return l.serve(ctx)
}

// loader reads the configuration again, or what content would make of it.
func (s *serveCmd) loader(e env) func(content []byte) (*config.Config, error) {
	return func(content []byte) (*config.Config, error) {
		opts := s.Source.options(e)
		if content != nil {
			opts = append(opts, plinth.WithContent(content))
		}
		return plinth.Load(s.Source.Config, opts...)
	}
}

// handler writes logs as the flags say. In JSON a duration is a number of seconds, and its
// name says so.
func (s *serveCmd) handler(to io.Writer) slog.Handler {
	if s.Log != "json" {
		return slog.NewTextHandler(to, &slog.HandlerOptions{Level: &s.level})
	}
	return slog.NewJSONHandler(to, &slog.HandlerOptions{Level: &s.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			return slog.Float64(a.Key+"_seconds", a.Value.Duration().Seconds())
		}
		return a
	}})
}

// logger logs what is said however the level is set.
func (s *serveCmd) logger(to io.Writer) *slog.Logger {
	always := serveCmd{Log: s.Log}
	return slog.New(always.handler(to))
}

// logFrom has what is logged from now on be what cfg says.
func (s *serveCmd) logFrom(cfg *config.Config) {
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.Log.Level)) == nil { // else it is wrong, which is reported
		s.level.Set(level)
	}
}

// ready says where the stores are, in the form of the log.
func (s *serveCmd) ready(to io.Writer, l *listeners, h *plinth.Host) {
	addresses, probes := l.addresses()
	if s.Log != "json" {
		at := strings.Join(addresses, " and ")
		if probes != "" {
			at += ", probes on " + probes
		}
		fmt.Fprintln(to, readyLine(at, h))
		return
	}
	stores := map[string]string{}
	for _, store := range h.Stores() {
		stores[store.Name()] = pipelineOf(store)
	}
	attrs := []any{"addresses", addresses, "stores", stores}
	if probes != "" {
		attrs = append(attrs, "probes", probes)
	}
	slog.New(slog.NewJSONHandler(to, nil)).Info("ready", attrs...)
}

// shared reports of the stores of h whether others write to their backends.
func shared(h *plinth.Host) func(store string) bool {
	return func(name string) bool {
		s, err := h.Store(name)
		return err == nil && s.Shared()
	}
}

// onData puts the built-in store into a folder.
func (s *serveCmd) onData() error {
	if s.Source.Config != "" {
		return usagef("--data requires the built-in configuration: %s sets its own backends", s.Source.Config)
	}
	dir, err := folder(s.Data)
	if err != nil {
		return err
	}
	s.Source.content, err = onData(dir)
	return err
}

// readyLine returns the one line that says that everything is there.
func readyLine(address string, h *plinth.Host) string {
	var stores []string
	for _, s := range h.Stores() {
		stores = append(stores, fmt.Sprintf("%s (%s)", s.Name(), pipelineOf(s)))
	}
	return fmt.Sprintf("plinth: ready on %s, stores: %s", address, strings.Join(stores, ", "))
}

// newServer returns the server that a configuration asks for, or why it is refused, with
// its place.
func newServer(cfg *config.Config, s server.Settings) (*server.Server, error) {
	srv, err := server.New(serverConfig(cfg.Server), s)
	if err != nil {
		return nil, cfg.Root().Errorf("server", "%v", err)
	}
	return srv, nil
}

func serverConfig(c config.Server) server.Config {
	return server.Config{Listener: listener(c, c.HTTP), Hosts: c.Hosts, AdminToken: c.AdminToken, BodyBytes: int64(c.Limits.Body)}
}

// telemetryFlush limits how long unsent telemetry may take to be sent at the end.
const telemetryFlush = 5 * time.Second

// telemetry starts what the configuration says of telemetry, before the host, so
// that nothing that the host does is missing. forPlugins is what plugins are handed of
// it.
func (s *serveCmd) telemetry(ctx context.Context, e env, cfg *config.Config) (_ *setup.Telemetry, forPlugins []byte, _ error) {
	settings := setup.Settings{Service: "plinth", Version: version()}
	tel, err := setup.Setup(ctx, cfg.Telemetry, settings)
	if err != nil { // report other errors with it
		h, more := plinth.OpenConfig(ctx, cfg, append(s.Source.options(e), plinth.WithLogger(slog.New(slog.DiscardHandler)))...)
		if h != nil {
			more = h.Close(ctx)
		}
		return nil, nil, config.Join(err, more)
	}
	if forPlugins, err = setup.ForPlugins(cfg.Telemetry, settings); err != nil {
		return nil, nil, errors.Join(err, shutTelemetry(tel))
	}
	return tel, forPlugins, nil // what is wrong elsewhere, comes with what the host finds
}

func shutTelemetry(t *setup.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.Background(), telemetryFlush)
	defer cancel()
	return t.Shutdown(ctx)
}

func serverSettings(h *plinth.Host, log *slog.Logger, tel *setup.Telemetry) server.Settings {
	return server.Settings{Stores: storesOf(h), Log: log, Metrics: tel.Metrics, Tracer: tel.Tracer, Meter: tel.Meter, Propagator: tel.Propagator}
}
