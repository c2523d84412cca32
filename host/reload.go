package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// Reload describes the outcome of the last reload.
type Reload struct {
	At      time.Time     // when it ended; zero if there was none
	Took    time.Duration // from its start, without the wait for another reload
	Err     error         // why nothing changed; nil if it succeeded
	Changes Changes
}

// Reload replaces the configuration in force with cfg while calls continue. Unchanged plugins,
// backends and innermost stages of each pipeline are kept, with their state. Everything else
// is built alongside them, and put in force at once; a call ends in the pipeline in which it
// began. Calls to a store whose backend is replaced wait, for at most the reload.hold of
// cfg.
//
// If cfg is invalid or a part cannot be built, the old configuration stays in force, nothing
// is left behind, and the error reports every mistake, as that of [Open] does. A change that
// would lose items is an error, unless on_swap is set.
//
// Concurrent reloads wait for each other. Stores that were handed out stay valid; stores that
// cfg does not contain become unavailable.
func (h *Host) Reload(ctx context.Context, cfg *config.Config) (Changes, error) {
	return h.ReloadFunc(ctx, func(*config.Config) (*config.Config, error) { return cfg, nil })
}

// ReloadFunc calls load with the configuration in force, and reloads the configuration that it
// returns. No other reload runs meanwhile. An error of load is returned as the reload's.
func (h *Host) ReloadFunc(ctx context.Context, load func(inForce *config.Config) (*config.Config, error)) (Changes, error) {
	return h.reload(ctx, func(b *builder) (err error) {
		b.cfg, err = load(b.cfg)
		return err
	})
}

// RestartPlugin restarts a plugin, with all its backends, like a reload that changes it. If
// the name is unknown, the error is InvalidArgument.
func (h *Host) RestartPlugin(ctx context.Context, name string) (Changes, error) {
	return h.reload(ctx, func(b *builder) error {
		if _, ok := b.old.plugins[name]; !ok {
			return storage.Errorf(storage.InvalidArgument, "unknown plugin %q%s", name, config.Hint(name, slices.Collect(maps.Keys(b.old.plugins))))
		}
		b.restart = map[string]bool{name: true}
		return nil
	})
}

// Generation returns the number of the generation in force, from 1, and its start.
func (h *Host) Generation() (number int, since time.Time) {
	g := h.live.Load()
	return g.number, g.since
}

// Reloaded returns the outcome of the last reload or restart of a plugin.
func (h *Host) Reloaded() Reload {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Config returns the configuration in force.
func (h *Host) Config() *config.Config { return h.live.Load().cfg }

// Files returns the paths of the modules and executables of the plugins, and of the files in
// their arguments.
func (h *Host) Files() []string {
	var all []string
	for _, p := range h.live.Load().plugins {
		if p == nil {
			continue
		}
		if f, ok := p.Carrier.(carrier.Filed); ok {
			all = append(all, f.Paths()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// reload puts another generation in force, which prepare says what it is made of.
func (h *Host) reload(ctx context.Context, prepare func(*builder) error) (changes Changes, err error) {
	if h.settings.Trial {
		return changes, storage.Errorf(storage.Unsupported, "a trial host cannot be reloaded")
	}
	done, err := h.change(ctx)
	if err != nil {
		return changes, err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.running, cancel)()
	start := time.Now()
	b := h.builder(h.live.Load().cfg)
	if err = prepare(b); err == nil {
		changes, err = b.reload(ctx)
	}
	if more := b.done(context.WithoutCancel(ctx)); more != nil {
		err = config.Join(err, more)
	}
	if err != nil && h.running.Err() != nil {
		err = fmt.Errorf("the host was closed during the reload: %w", err)
	}
	h.tell(Reload{At: time.Now(), Took: time.Since(start), Err: err, Changes: changes})
	return changes, err
}

// reload builds the generation and puts it in force.
func (b *builder) reload(ctx context.Context) (Changes, error) {
	err := b.carriers(ctx)
	swaps, lost := b.swaps(ctx)
	if err = config.Join(b.cfg.Err(), err, lost, b.pipelines(ctx)); err != nil {
		return Changes{}, err
	}
	if err := b.gate(ctx); err != nil {
		return Changes{}, err
	}
	if err := b.probe(ctx); err != nil {
		return Changes{}, err
	}
	if err := ctx.Err(); err != nil {
		return Changes{}, storage.ContextError(ctx)
	}
	changes := b.changes(swaps)
	b.h.at("built")
	var over []*pipeline
	if len(b.over(swaps)) == 0 {
		over = b.h.publish(b.generation())
	} else if over, err = b.swap(ctx, swaps); err != nil {
		return Changes{}, err
	}
	b.h.at("switched")
	b.h.retireAll(over, b.old)
	b.keepTrying()
	return changes, nil
}

// tell keeps and logs the outcome of a reload.
func (h *Host) tell(r Reload) {
	h.mu.Lock()
	h.last = r
	h.mu.Unlock()
	if h.reloads != nil {
		h.reloads.Add(context.Background(), 1, metric.WithAttributes(attribute.Bool("plinth.reload.success", r.Err == nil)))
	}
	log := h.settings.Log.With("took", r.Took.Round(time.Millisecond))
	if r.Err == nil {
		log.Info("the configuration was reloaded", "generation", h.live.Load().number, "changes", r.Changes.String())
		return
	}
	var listed config.Errors
	if errors.As(r.Err, &listed) {
		for _, e := range listed {
			log.Error("the reload is refused: everything stays as it is", "error", e)
		}
		return
	}
	log.Error("the reload is refused: everything stays as it is", "error", r.Err)
}
