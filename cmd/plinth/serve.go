package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

type serveCmd struct {
	Source source `embed:""`
	HTTP   string `name:"http" help:"Address to serve HTTP on, HOST:PORT or unix:PATH; over the configuration's." placeholder:"ADDR"`
	Log    string `help:"How to log: text or json." enum:"text,json" default:"text"`
}

func (s *serveCmd) Run(ctx context.Context, e env) (err error) {
	if s.HTTP != "" {
		if s.Source.Set == nil {
			s.Source.Set = map[string]string{}
		}
		s.Source.Set["server.http"] = s.HTTP
	}
	var handler slog.Handler = slog.NewTextHandler(e.stderr, nil)
	if s.Log == "json" {
		handler = slog.NewJSONHandler(e.stderr, nil)
	}
	log := slog.New(handler)
	opts := s.Source.options(e)
	h, cfg, err := plinth.OpenConfig(ctx, s.Source.Config, append(opts, plinth.WithLogger(log))...)
	if err != nil {
		return listed(err)
	}
	// The signal that ends serving must not cut short what it leaves to do.
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	if cfg.Server.HTTP == "" {
		return usagef("the configuration names no address to serve on (server.http)")
	}
	srv, err := newServer(cfg, serverSettings(h, log))
	if err != nil {
		return err
	}
	l, err := srv.Listen()
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	fmt.Fprintln(e.stdout, readyLine(srv.Address(), h))
	return srv.Serve(ctx, l)
}

// readyLine is the one line that says that everything is there.
func readyLine(address string, h *plinth.Host) string {
	var stores []string
	for _, s := range h.Stores() {
		stores = append(stores, fmt.Sprintf("%s (%s)", s.Name(), pipelineOf(s)))
	}
	return fmt.Sprintf("plinth: ready on %s, stores: %s", address, strings.Join(stores, ", "))
}

// newServer is the server that a configuration asks for, or why it is refused, with
// its place.
func newServer(cfg *config.Config, s server.Settings) (*server.Server, error) {
	srv, err := server.New(serverConfig(cfg.Server), s)
	if err != nil {
		return nil, cfg.Root().Errorf("server", "%v", err)
	}
	return srv, nil
}

func serverConfig(c config.Server) server.Config {
	return server.Config{
		Address: c.HTTP, Hosts: c.Hosts, Token: c.Token,
		Cert: c.TLS.Cert, Key: c.TLS.Key, ClientCA: c.TLS.ClientCA,
		HeaderBytes: int(c.Limits.Header), HeaderTimeout: time.Duration(c.Limits.HeaderTimeout), IdleTimeout: time.Duration(c.Limits.IdleTimeout),
		BodyBytes: int64(c.Limits.Body), MaxOps: c.Limits.MaxOps, MaxKeys: c.Limits.MaxKeys, MaxConcurrent: c.Limits.MaxConcurrent,
		ShutdownTimeout: time.Duration(c.ShutdownTimeout),
	}
}

func serverSettings(h *plinth.Host, log *slog.Logger) server.Settings {
	s := server.Settings{Stores: map[string]*storage.Store{}, Log: log}
	for _, store := range h.Stores() {
		s.Stores[store.Name()] = store.Store
	}
	return s
}
