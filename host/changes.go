package host

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config"
)

// Action describes what a reload does with a plugin, a store or a stage.
type Action string

// The actions.
const (
	Kept     Action = "keep"    // nothing changed
	Rebuilt  Action = "rebuild" // its stages changed, its backend did not
	Replaced Action = "replace" // another one replaces it
	Started  Action = "start"   // it is new
	Stopped  Action = "stop"    // it is no longer in the configuration
)

// Changes lists the effects of a reload.
type Changes struct {
	Plugins []PluginChange `json:"plugins"` // by name
	Stores  []StoreChange  `json:"stores"`  // by name
}

// PluginChange describes the effect of a reload on a plugin.
type PluginChange struct {
	Name   string `json:"name"`
	Action Action `json:"action"`
}

// StoreChange describes the effect of a reload on a store.
type StoreChange struct {
	Name   string        `json:"name"`
	Action Action        `json:"action"`
	Stages []StageChange `json:"stages,omitempty"` // of the new pipeline, outermost first
	Items  string        `json:"items,omitempty"`  // if its backend is replaced, the fate of its items: "transferred", "lost", or "left" where they are
	Waits  bool          `json:"waits,omitempty"`  // its calls wait during the reload
}

// StageChange describes the effect of a reload on a stage.
type StageChange struct {
	Name   string `json:"name"`
	Action Action `json:"action"` // [Kept], [Rebuilt] with its previous state, or [Started]
}

// None reports whether nothing changes.
func (c Changes) None() bool { return c.String() == nothing }

const nothing = "none"

// String returns the changes as one line, without the kept parts.
func (c Changes) String() string {
	var all []string
	for _, p := range c.Plugins {
		if p.Action != Kept {
			all = append(all, fmt.Sprintf("%s plugin %s", p.Action, p.Name))
		}
	}
	for _, s := range c.Stores {
		if s.Action == Kept {
			continue
		}
		text := fmt.Sprintf("%s store %s", s.Action, s.Name)
		if s.Items != "" {
			text += " (items " + s.Items + ")"
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return nothing
	}
	return strings.Join(all, ", ")
}

// Changes returns what a reload with cfg would do, without doing it or opening a backend. The
// error has every mistake that it can detect.
func (h *Host) Changes(ctx context.Context, cfg *config.Config) (_ Changes, err error) {
	done, err := h.change(ctx)
	if err != nil {
		return Changes{}, err
	}
	defer done()
	b := h.builder(cfg)
	b.dry = true
	defer func() { err = config.Join(err, b.done(context.WithoutCancel(ctx))) }()
	err = b.carriers(ctx)
	swaps, lost := b.swaps(ctx)
	if err = config.Join(cfg.Err(), err, lost, b.pipelines(ctx)); err != nil {
		return Changes{}, err
	}
	return b.changes(swaps), nil
}

// changes returns what is between the generation in force and the one that was built.
func (b *builder) changes(swaps []*swap) (c Changes) {
	for _, name := range together(b.old.plugins, b.plugins) {
		before, now := b.old.plugins[name], b.plugins[name]
		if before != nil || now != nil {
			c.Plugins = append(c.Plugins, PluginChange{name, action(before, now)})
		}
	}
	for _, name := range together(b.old.stores, b.stores) {
		c.Stores = append(c.Stores, b.storeChange(name, swaps))
	}
	return c
}

func (b *builder) storeChange(name string, swaps []*swap) StoreChange {
	before, now := b.old.stores[name], b.stores[name]
	c := StoreChange{Name: name, Action: action(before, now)}
	if c.Action == Replaced && before.backend == now.backend {
		c.Action = Rebuilt
	}
	if now != nil {
		for i, s := range slices.Backward(now.stages) {
			c.Stages = append(c.Stages, StageChange{now.declared[len(now.stages)-1-i].Name, stageAction(before, s)})
		}
	}
	for _, s := range swaps {
		if before == nil || s.old != before.backend {
			continue
		}
		c.Waits = now != nil
		switch {
		case s.moves:
			c.Items = "transferred"
		case s.old.failed() || s.lost:
			c.Items = "lost"
		default:
			c.Items = "left"
		}
	}
	return c
}

func stageAction(before *pipeline, s *stage) Action {
	switch {
	case before != nil && slices.Contains(before.stages, s):
		return Kept
	case before != nil && slices.ContainsFunc(before.stages, func(o *stage) bool {
		return o.Kind == s.Kind && o.Name == s.Name && o.config.Same(s.config)
	}):
		return Rebuilt
	}
	return Started
}

// action returns the action for a part before and after a change; nil means that it does not exist.
func action[T any](before, now *T) Action {
	switch {
	case before == nil:
		return Started
	case now == nil:
		return Stopped
	case before == now:
		return Kept
	}
	return Replaced
}

// together returns the names in both, in order.
func together[T any](a, b map[string]T) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
