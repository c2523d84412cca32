package main

import (
	"context"

	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/batch"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/circuitbreaker"
	"github.com/plinthkv/plinth/wrappers/faults"
	"github.com/plinthkv/plinth/wrappers/prefix"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
	"github.com/plinthkv/plinth/wrappers/readonly"
	"github.com/plinthkv/plinth/wrappers/retry"
	"github.com/plinthkv/plinth/wrappers/sizelimits"
	"github.com/plinthkv/plinth/wrappers/timeout"
)

// noop returns at once and keeps nothing, so that what is measured over it is a
// wrapper alone.
type noop struct{ storage.UnimplementedBackend }

func (noop) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{Value: value, Version: 1}, nil
}

func (noop) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 1, nil }

func (noop) Info() storage.Info {
	return storage.Info{Name: "noop", Caps: storage.CapVersions | storage.CapAtomic | storage.CapIdempotent}
}

// stage measures a wrapper over noop.
type stage struct {
	name           string
	make           func(wrappers.Settings) (storage.Backend, error)
	writes, shared bool // whether sets are worth a row, and those of 64 callers
}

var stages = []stage{
	{"instrument, not sampled", func(s wrappers.Settings) (storage.Backend, error) { return otel.New(noop{}, otel.DefaultConfig(), s) }, true, false},
	{"size_limits", func(s wrappers.Settings) (storage.Backend, error) {
		return sizelimits.New(noop{}, sizelimits.Config{Key: 4 << 10, Value: 4 << 20}, s)
	}, true, false},
	{"rate_limit, one bucket", func(s wrappers.Settings) (storage.Backend, error) {
		return ratelimit.New(noop{}, manyTokens(), s)
	}, true, false},
	{"rate_limit, by tenant", func(s wrappers.Settings) (storage.Backend, error) {
		c := manyTokens()
		c.Tenant = tenant.Config{Until: "-"}
		return ratelimit.New(noop{}, c, s)
	}, true, false},
	{"cache, reads hit", func(s wrappers.Settings) (storage.Backend, error) {
		return cache.New(s.Hub.(*wrappers.Hub).Backend(), cache.DefaultConfig(), s)
	}, true, false},
	{"batch", func(s wrappers.Settings) (storage.Backend, error) { return batch.New(noop{}, batch.DefaultConfig(), s) }, true, true},
	{"retry, nothing fails", func(s wrappers.Settings) (storage.Backend, error) { return retry.New(noop{}, retry.DefaultConfig(), s) }, true, false},
	{"timeout", func(s wrappers.Settings) (storage.Backend, error) {
		return timeout.New(noop{}, timeout.DefaultConfig(), s)
	}, true, false},
	{"circuit_breaker, closed", func(s wrappers.Settings) (storage.Backend, error) {
		return circuitbreaker.New(noop{}, circuitbreaker.DefaultConfig(), s)
	}, true, false},
	{"read_only", func(s wrappers.Settings) (storage.Backend, error) { return readonly.New(noop{}, s), nil }, false, false},
	{"prefix", func(s wrappers.Settings) (storage.Backend, error) {
		return prefix.New(noop{}, prefix.Config{Prefix: "app/"}, s)
	}, true, false},
	{"faults, no rules", func(s wrappers.Settings) (storage.Backend, error) {
		return faults.New(noop{}, faults.Config{Seed: 1}, s)
	}, true, false},
}

// manyTokens never refuses.
func manyTokens() ratelimit.Config {
	c := ratelimit.DefaultConfig()
	c.Rate = 1e12
	return c
}

// stageRows returns a row for each wrapper alone, next to the backend that does nothing.
func stageRows() ([]*row, error) {
	const floor = "no-op backend"
	const get, set, together = "get, one wrapper", "set, one wrapper", "set, one wrapper, 64 callers"
	do := func(b storage.Backend) func(context.Context, []byte) error {
		return func(ctx context.Context, key []byte) error { return backend{b}.set(ctx, key, value) }
	}
	reads := []*row{{work: get, subject: floor, floor: floor, run: gets(backend{noop{}})}}
	writes := []*row{{work: set, subject: floor, floor: floor, run: sets(backend{noop{}})}}
	crowds := []*row{{work: together, subject: floor, floor: floor, run: shared(64, do(noop{}))}}
	for _, s := range stages {
		settings := wrappers.Settings{Store: "default", Stage: s.name, Hub: wrappers.NewHub(noop{}), Meter: metricnoop.NewMeterProvider()}
		read, err := s.make(settings)
		if err != nil {
			return nil, err
		}
		b, err := s.make(settings) // of its own, so that no write takes a key out of a cache that is read
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if _, err := read.Get(context.Background(), key); err != nil {
				return nil, err
			}
		}
		reads = append(reads, &row{work: get, subject: s.name, floor: floor, run: gets(backend{read})})
		if s.writes {
			writes = append(writes, &row{work: set, subject: s.name, floor: floor, run: sets(backend{b})})
		}
		if s.shared {
			crowds = append(crowds, &row{work: together, subject: s.name, floor: floor, run: shared(64, do(b))})
		}
	}
	return append(append(reads, writes...), crowds...), nil
}
