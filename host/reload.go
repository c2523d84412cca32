package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
)

// Reload is what came of the last change of what is in force.
type Reload struct {
	At      time.Time     // when it ended; zero: there was none
	Took    time.Duration // from its begin, without the wait for another
	Err     error         // why nothing changed; nil: it succeeded
	Changes Changes
}

// Reload puts cfg in the place of the configuration in force, while calls go on. What cfg
// does not change stays as it is, with its state: plugins, backends and the innermost stages
// of each pipeline. Everything else is built beside it, and comes into force at once; a call
// ends in the pipeline in which it began. Calls of a store whose backend is replaced wait,
// for cfg's reload.hold at most.
//
// If anything is wrong, everything stays as it is, nothing is left behind, and the error
// says all that is wrong, as that of [Open] does. A change that would lose items is wrong
// unless the configuration says on_swap.
//
// Reloads follow each other. Stores that were handed out stay valid: those that cfg does not
// have are unavailable.
func (h *Host) Reload(ctx context.Context, cfg *config.Config) (Changes, error) {
	return h.reload(ctx, cfg, nil)
}

// RestartPlugin starts a plugin again, with all its backends, as a reload does that changes
// it. The name of a plugin that there is not is InvalidArgument.
func (h *Host) RestartPlugin(ctx context.Context, name string) (Changes, error) {
	return h.reload(ctx, nil, func(g *generation) (string, error) {
		if _, ok := g.plugins[name]; ok {
			return name, nil
		}
		var known []string
		for name := range g.plugins {
			known = append(known, name)
		}
		return "", storage.Errorf(storage.InvalidArgument, "the host has no plugin %q%s", name, config.Hint(name, known))
	})
}

// Generation returns the number of the generation in force, from 1, and since when it is.
func (h *Host) Generation() (number int, since time.Time) {
	g := h.live.Load()
	return g.number, g.since
}

// Reloaded returns what came of the last reload or restart of a plugin.
func (h *Host) Reloaded() Reload {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// reload puts cfg in force, or what is in force once more, where it is nil.
func (h *Host) reload(ctx context.Context, cfg *config.Config, restarts func(*generation) (string, error)) (changes Changes, err error) {
	if h.settings.Trial {
		return changes, storage.Errorf(storage.Unsupported, "a trial serves nothing that could change")
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
	if cfg == nil {
		cfg = h.live.Load().cfg
	}
	b := h.builder(cfg)
	if restarts != nil {
		name, err := restarts(b.old)
		if err != nil {
			return changes, err
		}
		b.restart = map[string]bool{name: true}
	}
	changes, err = b.reload(ctx)
	err = config.Join(err, b.done(context.WithoutCancel(ctx)))
	if err != nil && h.running.Err() != nil {
		err = fmt.Errorf("the host was closed meanwhile: %w", err)
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

// tell keeps and logs what came of a reload.
func (h *Host) tell(r Reload) {
	h.mu.Lock()
	h.last = r
	h.mu.Unlock()
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
