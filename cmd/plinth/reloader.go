package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"sync"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/storage"
)

// reloader changes what a server runs while it runs.
type reloader struct {
	load      func(content []byte) (*config.Config, error) // of the file, or of what it would hold
	host      *plinth.Host
	listeners *listeners
	log       *slog.Logger
	manager   manager
	inForce   func(*config.Config)  // called with the configuration that a reload has put in force
	told      sync.Mutex            // held while servers learn what is in force
	warned    map[storeWarning]bool // of the configuration in force; told guards it
}

// reload reads the configuration again and puts it in force.
func (r *reloader) reload(ctx context.Context) (host.Changes, error) {
	r.manager.reloading()
	defer r.manager.ready(r.host)
	var next *config.Config
	changes, err := r.host.ReloadFunc(ctx, func(inForce *config.Config) (*config.Config, error) {
		var err error
		if next, err = r.load(nil); next == nil {
			return nil, err
		}
		return next, unchanging(inForce, next)
	})
	if err == nil {
		r.told.Lock()
		defer r.told.Unlock()
		now := r.host.Config() // which another reload may have put in force by now
		r.listeners.update(now, r.stores())
		r.inForce(now)
		r.warn()
	}
	return changes, err
}

// storeWarning is a warning about the pipeline of a store.
type storeWarning struct{ store, text string }

// warn logs what check warns of in the stores in force. A reload does not repeat a warning that
// still applies.
func (r *reloader) warn() {
	now := map[storeWarning]bool{}
	for _, s := range r.host.Stores() {
		for _, text := range s.Warnings() {
			w := storeWarning{s.Name(), text}
			if !r.warned[w] && !now[w] {
				r.log.Warn("pipeline", "store", w.store, "warning", w.text)
			}
			now[w] = true
		}
	}
	r.warned = now
}

// plan returns what a reload would do with the file, or with content in its place.
func (r *reloader) plan(ctx context.Context, content []byte) (host.Changes, error) {
	next, err := r.load(content)
	if next == nil {
		return host.Changes{}, err
	}
	changes, err := r.host.Changes(ctx, next)
	return changes, config.Join(err, unchanging(r.host.Config(), next))
}

// tokens puts the tokens of the configuration in force, and nothing else of it.
func (r *reloader) tokens() error {
	next, err := r.load(nil)
	if err != nil {
		return err
	}
	r.told.Lock()
	defer r.told.Unlock()
	now := *r.host.Config()
	now.Server.Token, now.Server.AdminToken = next.Server.Token, next.Server.AdminToken
	r.listeners.update(&now, r.stores())
	return nil
}

// stores returns those of the host, by name.
func (r *reloader) stores() map[string]*storage.Store { return storesOf(r.host) }

func storesOf(h *plinth.Host) map[string]*storage.Store {
	all := map[string]*storage.Store{}
	for _, s := range h.Stores() {
		all[s.Name()] = s.Store
	}
	return all
}

// fixed returns the parts of the configuration that a server has from its start to its end.
func fixed(c *config.Config) map[string]any {
	s := c.Server
	return map[string]any{
		"server.http": s.HTTP, "server.grpc": s.GRPC, "server.probes": s.Probes, "server.tls": s.TLS, "server.shutdown_delay": s.ShutdownDelay, "server.shutdown_timeout": s.ShutdownTimeout,
		"server.limits.header": s.Limits.Header, "server.limits.header_timeout": s.Limits.HeaderTimeout, "server.limits.idle_timeout": s.Limits.IdleTimeout,
		"server.limits.message": s.Limits.Message, "server.limits.memory": s.Limits.Memory, "server.limits.max_concurrent": s.Limits.MaxConcurrent,
	}
}

// errFixed rejects a change of a setting that cannot change.
var errFixed = errors.New("cannot change while the program runs: restart it to apply the change")

// unchanging names what differs between two configurations and can only change by a start.
func unchanging(inForce, next *config.Config) error {
	var errs []error
	before := fixed(inForce)
	for path, now := range fixed(next) {
		if !reflect.DeepEqual(before[path], now) {
			errs = append(errs, next.Root().Errorf(path, "%v", errFixed))
		}
	}
	if !inForce.Telemetry.Same(next.Telemetry) {
		errs = append(errs, next.Root().Errorf("telemetry", "%v", errFixed))
	}
	return config.Join(errs...)
}

// follow reloads at each signal, and at changes of files if those are to be watched, until
// stop is called.
func (r *reloader) follow(ctx context.Context, signals <-chan os.Signal, files bool) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-signals:
				_, _ = r.reload(ctx) // the host says in the log what came of it
			case <-ctx.Done():
				return
			}
		}
	})
	all.Go(func() { r.manager.watchdog(ctx, r.host) })
	if files {
		all.Go(func() { r.watchConfig(ctx) })
	} else {
		all.Go(func() { r.watchTokens(ctx) })
	}
	return func() {
		end()
		all.Wait()
	}
}
