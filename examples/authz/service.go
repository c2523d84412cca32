package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/examples/authz/control"
	"github.com/plinthkv/plinth/examples/authz/engine"
	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/examples/authz/web"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/storage"
)

// backends returns the plugins that a configuration may name without an entry. Memory is the
// WebAssembly module, the others are linked in.
func backends() []plinth.Option {
	return []plinth.Option{
		plinth.WithModule(config.Memory, module.Wasm),
		plinth.WithBackend("pebble", pebble.Open, plinth.TriedBy(pebble.Info)),
		plinth.WithBackend("etcd", etcd.Open, plinth.Shared(), plinth.TriedBy(etcd.Info)),
		plinth.WithBackend("postgres", postgres.Open, plinth.Shared(), plinth.TriedBy(postgres.Info)),
	}
}

// settings configures a service.
type settings struct {
	log    *slog.Logger
	tracer trace.TracerProvider // nil means no spans
	meter  metric.MeterProvider // nil means no metrics
	now    func() time.Time     // by which tokens and keys are judged; by default time.Now
	bound  time.Duration        // how late a revocation elsewhere is noticed; by default 10 s
	limits engine.Limits
	flying int // requests at once; by default 256
}

// service holds both APIs over the stores of a configuration.
type service struct {
	host      *plinth.Host
	store     *storage.Store
	router    *web.Router
	keys      map[string]auth.Store // by audience, as the Control API changes them
	verifiers []*auth.Verifier
}

// newService opens the host and puts the service over it. The caller closes it.
func newService(ctx context.Context, cfg *config.Config, s settings, options ...plinth.Option) (_ *service, err error) {
	if s.tracer == nil {
		s.tracer = tracenoop.NewTracerProvider()
	}
	if s.meter == nil {
		s.meter = metricnoop.NewMeterProvider()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.flying == 0 {
		s.flying = 256
	}
	host, err := plinth.OpenConfig(ctx, cfg, append(append(backends(), plinth.WithLogger(s.log), plinth.WithTracerProvider(s.tracer), plinth.WithMeterProvider(s.meter)), options...)...)
	if err != nil {
		return nil, err
	}
	sv := &service{host: host, keys: map[string]auth.Store{}}
	if err := sv.build(s); err != nil {
		return nil, errors.Join(err, sv.close(ctx))
	}
	return sv, nil
}

func (sv *service) build(s settings) error {
	data, err := sv.host.Store("authz")
	if err != nil {
		return err
	}
	keys, err := sv.host.Store("keys")
	if err != nil {
		return err
	}
	if err := repository.CheckStore(data.Store); err != nil {
		return err
	}
	sv.store = data.Store
	ids, err := identity.NewGenerator(identity.Options{Worker: -1})
	if err != nil {
		return err
	}
	chain := auth.NewChain(keys.Store, "audit/")
	tokens, spaces := map[string]*token.Verifier{}, map[string]control.KeySpace{}
	for _, audience := range []string{token.Control, token.Engine} {
		space, err := sv.keySpace(keys.Store, audience, chain, s)
		if err != nil {
			return err
		}
		spaces[audience], tokens[audience] = space, token.NewVerifier(space.Verifier, audience, s.now)
	}
	relationships := repository.NewRelationships(data.Store)
	sv.router = web.NewRouter(web.Settings{Tracer: s.tracer, Log: s.log, Timeout: 5 * time.Second, Flying: s.flying})
	(&control.API{
		Tokens: tokens[token.Control], Organizations: repository.NewOrganizations(data.Store, ids), Vaults: repository.NewVaults(data.Store, ids),
		Keys: spaces, IDs: ids, Audit: chain, Now: s.now,
	}).Register(sv.router)
	(&engine.API{
		Tokens: tokens[token.Engine], Relationships: relationships, Checker: engine.NewChecker(relationships, s.limits),
	}).Register(sv.router)
	return nil
}

// keySpace returns the keys of an API, apart from those of the other API. Spans and durations
// are recorded of every call, and audit events of those of the Control API.
func (sv *service) keySpace(store *storage.Store, audience string, sink auth.Sink, s settings) (space control.KeySpace, err error) {
	in := func(org identity.OrganizationSlug) (*storage.Store, string) {
		return store, repository.OrganizationPrefix(org) + audience + "/"
	}
	keys, err := auth.NewInstrumented(auth.NewKeys(in, s.now), s.tracer, s.meter)
	if err != nil {
		return space, err
	}
	if space.Keys, err = auth.NewAudited(keys, sink, auth.AuditOptions{Log: s.log}); err != nil {
		return space, err
	}
	if space.Verifier, err = auth.NewVerifier(keys, auth.VerifierOptions{Bound: s.bound, Now: s.now}); err != nil {
		return space, err
	}
	sv.keys[audience], sv.verifiers = space.Keys, append(sv.verifiers, space.Verifier)
	return space, nil
}

// health reports the state of the stores to probes.
func (sv *service) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	status, h := http.StatusOK, sv.host.Health(ctx, storage.Readiness)
	if h.Status == storage.Unhealthy {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(h.Status.String() + "\n"))
}

func (sv *service) close(ctx context.Context) error {
	for _, v := range sv.verifiers {
		v.Close()
	}
	return sv.host.Close(ctx)
}
