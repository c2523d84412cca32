package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// protocol serves stores in one of several ways.
type protocol interface {
	name() string // that its socket has with a service manager
	Listen() (net.Listener, error)
	Adopt(net.Listener) error
	Address() string
	Serve(context.Context, net.Listener) error
	// update has it serve these stores, and what else of the configuration can change.
	update(*config.Config, map[string]*storage.Store)
}

type httpServer struct{ *server.Server }

func (httpServer) name() string { return "http" }

func (s httpServer) update(cfg *config.Config, stores map[string]*storage.Store) {
	s.Update(serverConfig(cfg.Server), stores)
}

// probesServer is the listener of probes and metrics alone.
type probesServer struct{ *server.Server }

func (probesServer) name() string { return "probes" }

func (s probesServer) update(cfg *config.Config, stores map[string]*storage.Store) {
	s.Update(probesConfig(cfg.Server), stores)
}

type grpcServer struct{ *grpcserver.Server }

func (grpcServer) name() string { return "grpc" }

func (s grpcServer) update(cfg *config.Config, stores map[string]*storage.Store) {
	s.Update(grpcConfig(cfg.Server), stores)
}

// listeners holds the protocols that are served, each on an address of its own.
type listeners struct {
	protocols []protocol
	open      []net.Listener
}

// newListeners returns the servers that a configuration asks for, or why one is
// refused, with its place.
func newListeners(cfg *config.Config, web server.Settings, rpc grpcserver.Settings) (*listeners, error) {
	l := &listeners{}
	if cfg.Server.HTTP == "" && cfg.Server.GRPC == "" {
		return nil, usagef("no address to serve on: set server.grpc or server.http")
	}
	var errs []error
	if cfg.Server.HTTP != "" {
		srv, err := newServer(cfg, web)
		l.protocols, errs = append(l.protocols, httpServer{srv}), append(errs, err)
	}
	if cfg.Server.GRPC != "" {
		srv, err := grpcserver.New(grpcConfig(cfg.Server), rpc)
		if err != nil {
			err = cfg.Root().Errorf("server.grpc", "%v", err)
		}
		l.protocols, errs = append(l.protocols, grpcServer{srv}), append(errs, err)
	}
	if cfg.Server.Probes != "" {
		l.protocols = append(l.protocols, probesServer{server.NewProbes(probesConfig(cfg.Server), web)})
	}
	if err := config.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

func probesConfig(c config.Server) server.Config {
	return server.Config{Listener: listener(c, c.Probes), Hosts: c.Hosts}
}

func grpcConfig(c config.Server) grpcserver.Config {
	return grpcserver.Config{Listener: listener(c, c.GRPC), MessageBytes: int(c.Limits.Message)}
}

// memoryOf returns the budget of requests and answers in flight, for both protocols.
func memoryOf(c config.Server) *server.Memory { return server.NewMemory(int64(c.Limits.Memory)) }

// listener returns the settings that both protocols have in common.
func listener(c config.Server, address string) server.Listener {
	return server.Listener{
		Address: address, Token: c.Token, Cert: c.TLS.Cert, Key: c.TLS.Key, ClientCA: c.TLS.ClientCA,
		HeaderBytes: int(c.Limits.Header), HeaderTimeout: time.Duration(c.Limits.HeaderTimeout), IdleTimeout: time.Duration(c.Limits.IdleTimeout),
		MaxOps: c.Limits.MaxOps, MaxKeys: c.Limits.MaxKeys, MaxConcurrent: c.Limits.MaxConcurrent,
		ShutdownDelay: time.Duration(c.ShutdownDelay), ShutdownTimeout: time.Duration(c.ShutdownTimeout),
	}
}

// update has all protocols serve what cfg says.
func (l *listeners) update(cfg *config.Config, stores map[string]*storage.Store) {
	for _, p := range l.protocols {
		p.update(cfg, stores)
	}
}

// listen opens all addresses, or none. Sockets that a service manager has opened stand in
// the place of addresses.
func (l *listeners) listen() (err error) {
	opened, err := activated()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, o := range append(l.open, slices.Collect(maps.Values(opened))...) {
				o.Close()
			}
		}
	}()
	for _, p := range l.protocols {
		o, is := opened[p.name()]
		if is {
			err = p.Adopt(o)
			delete(opened, p.name())
		} else {
			o, err = p.Listen()
		}
		if err != nil {
			return fmt.Errorf("server.%s: %w", p.name(), err)
		}
		l.open = append(l.open, o)
	}
	for name := range opened {
		return fmt.Errorf("server.%s: the service manager passed a socket for it, but the configuration disables it", name)
	}
	return nil
}

// addresses returns the addresses of the stores, and that of the listener for probes only, if
// there is one.
func (l *listeners) addresses() (stores []string, probes string) {
	for _, p := range l.protocols {
		if _, only := p.(probesServer); only {
			probes = p.Address()
			continue
		}
		stores = append(stores, p.Address())
	}
	return stores, probes
}

// serve serves until ctx ends, or one of the protocols fails, with which all end.
func (l *listeners) serve(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, len(l.protocols))
	for i, p := range l.protocols {
		go func() {
			err := p.Serve(ctx, l.open[i])
			end()
			ended <- err
		}()
	}
	var errs []error
	for range l.protocols {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}
