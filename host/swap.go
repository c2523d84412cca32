package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
)

// swap is a backend that is replaced, or removed.
type swap struct {
	store  string
	old    *backend
	moves  bool // its items go to the next
	lost   bool // they are thrown away, as the configuration says
	closes bool // it is closed before the next is opened, for both may be in the same place
}

// swaps returns the backends that are not in the new configuration as they are, and what is
// wrong with giving them up.
func (b *builder) swaps(ctx context.Context) (all []*swap, err error) {
	var errs []error
	for _, name := range b.old.names {
		before := b.old.stores[name]
		if before.absent != nil || before.backend.store != name {
			continue
		}
		next, stays := b.cfg.Stores[name]
		var p *plugin
		if stays && next.Backend.Plugin != "" {
			if p = b.plugins[next.Backend.Plugin]; p == nil {
				continue // it is wrong, and that was reported
			}
			if b.keptBackend(name, p) != nil {
				continue
			}
		}
		s := &swap{store: name, old: before.backend}
		if err := b.judge(s, p); err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	for _, name := range b.order() {
		p := b.plugins[b.cfg.Stores[name].Backend.Plugin]
		if p == nil || p.Shared() || b.keptBackend(name, p) != nil {
			continue
		}
		for _, s := range all {
			if s.samePlace(name, p) {
				s.closes, b.postponed[name] = true, true
			}
		}
	}
	return all, config.Join(errs...)
}

// samePlace reports whether the backend of a store may keep its items where s.old does.
func (s *swap) samePlace(store string, p *plugin) bool {
	return (s.old.durable() || s.old.plugin.hasFolder()) && !s.old.shared && (s.old.plugin.name == p.name || s.store == store && !s.moves)
}

// judge decides what becomes of a backend's items. p is the plugin of the store in the new
// configuration, or nil if it has no backend of its own there.
func (b *builder) judge(s *swap, p *plugin) error {
	old := s.old
	mode := b.cfg.Stores[s.store].Backend.OnSwap
	if p == nil {
		mode = b.old.cfg.Stores[s.store].Backend.OnSwap
	}
	keeps := old.durable() || old.shared // its items stay where they are
	again := p != nil && p.name == old.plugin.name && (keeps || old.plugin.hasFolder())
	gone := old.failed() || old.Info().Caps.Has(storage.CapStateless)
	switch {
	case gone:
		return nil
	case mode == config.SwapTransfer && p != nil && !again:
		if old.shared || p.Shared() {
			return b.refuse(s, p, "cannot be transferred, because one of the two backends has other writers: copy the items with plinth copy, and set on_swap: discard")
		}
		s.moves = true
	case keeps || again && mode != "": // what is in the folder of one that is not durable is its own affair
	case mode == config.SwapDiscard:
		s.lost = true
	case p == nil:
		return b.refuse(s, p, "would be removed with its items, which plugin %q keeps only in memory: set on_swap: discard in its backend first, and reload", old.plugin.name)
	default:
		return b.refuse(s, p, "would lose its items, which plugin %q keeps only in memory: set on_swap to transfer or discard", old.plugin.name)
	}
	return nil
}

// before returns the pipelines that stand on the backends of swaps, and were replaced by an
// earlier reload while calls were in them.
func (b *builder) before(swaps []*swap) (all []*pipeline) {
	b.h.counts.Lock()
	defer b.h.counts.Unlock()
	for p := range b.h.leaving {
		if slices.ContainsFunc(swaps, func(s *swap) bool { return s.old == p.backend }) {
			all = append(all, p)
		}
	}
	return all
}

// refuse returns an error about what becomes of a store.
func (b *builder) refuse(s *swap, p *plugin, format string, args ...any) error {
	path := fmt.Sprintf("stores.%s.backend", s.store)
	if p == nil {
		path = "stores"
	}
	return b.cfg.Root().Errorf(path, "the store %q %s", s.store, fmt.Sprintf(format, args...))
}

// over returns the pipelines in force that stand on the backends of swaps.
func (b *builder) over(swaps []*swap) (all []*pipeline) {
	for _, name := range b.old.names {
		p := b.old.stores[name]
		if slices.ContainsFunc(swaps, func(s *swap) bool { return s.old == p.backend }) {
			all = append(all, p)
		}
	}
	return all
}

// swap puts the generation in force whose backends take the place of others: calls to those
// wait meanwhile. If it fails, everything is as it was.
func (b *builder) swap(ctx context.Context, swaps []*swap) (over []*pipeline, err error) {
	h := b.h
	bound := time.Duration(b.cfg.Reload.Hold)
	hold, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("it took longer than reload.hold (%s)", bound))
	defer cancel()
	held := b.over(swaps)
	var closed []*swap
	if err = b.exchange(hold, swaps, held, &closed); err == nil {
		return h.publish(b.generation()), nil
	}
	if hold.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", context.Cause(hold), err)
	}
	h.at("undo")
	if len(closed) == 0 {
		h.resume(held)
		return nil, err
	}
	return nil, config.Join(err, h.reopen(context.WithoutCancel(ctx), closed))
}

// exchange does what is to be done while calls wait. closed are the swaps whose old backend
// it has closed.
func (b *builder) exchange(ctx context.Context, swaps []*swap, held []*pipeline, closed *[]*swap) error {
	for _, p := range held {
		p.writes.Shut()
	}
	over := slices.Concat(held, b.before(swaps))
	for _, p := range over {
		if err := p.writes.Wait(ctx); err != nil {
			return fmt.Errorf("writes to the store %q did not end: %w", p.store, err)
		}
	}
	b.h.at("held")
	for _, s := range swaps {
		if !s.moves {
			continue
		}
		if err := b.h.transfer(ctx, s.old, b.stores[s.store].backend, int64(b.cfg.Reload.Transfer)); err != nil {
			return b.cfg.Root().Errorf(fmt.Sprintf("stores.%s.backend.on_swap", s.store), "the items cannot be transferred: %v", err)
		}
	}
	for _, p := range held {
		p.reads.Shut()
	}
	for _, p := range over {
		if err := p.reads.Wait(ctx); err != nil {
			return fmt.Errorf("reads of the store %q did not end: %w", p.store, err)
		}
	}
	for _, s := range swaps {
		if !s.closes {
			continue
		}
		*closed = append(*closed, s)
		s.old.gone = true
		if err := s.old.Close(ctx); err != nil {
			return fmt.Errorf("the backend of the store %q cannot be closed: %w", s.store, err)
		}
	}
	b.h.at("closed")
	return b.openPostponed(ctx)
}

// openPostponed opens the backends that had to wait, and builds the pipelines over them.
func (b *builder) openPostponed(ctx context.Context) error {
	waited := b.postponed
	b.postponed = map[string]bool{}
	var errs []error
	for _, name := range b.order() {
		if !waited[name] && !waited[b.cfg.Stores[name].Backend.Store] {
			continue
		}
		stood := b.stores[name]
		delete(b.stores, name)
		p, err, more := b.store(ctx, name)
		errs = append(errs, err, more, b.h.release(context.WithoutCancel(ctx), stood))
		if p != nil {
			b.stores[name] = p
		}
	}
	if err := config.Join(errs...); err != nil {
		return err
	}
	return b.probe(ctx)
}

// resume lets the calls go on that wait for pipelines which stay in force after all.
func (h *Host) resume(held []*pipeline) {
	g := *h.live.Load()
	stores := make(map[string]*pipeline, len(g.stores))
	for name, p := range g.stores {
		if slices.Contains(held, p) {
			again := *p
			again.gates = h.newGates()
			p = &again
		}
		stores[name] = p
	}
	g.stores = stores
	over := h.publish(&g) // what was in force is released with what is
	h.leave(over)
	h.background.Go(func() {
		for _, p := range over {
			_ = p.drained(h.running)
			h.left(p)
		}
	})
}

// reopen opens backends again that were closed for others which could not take their place.
func (h *Host) reopen(ctx context.Context, closed []*swap) error {
	old := h.live.Load()
	b := h.builder(old.cfg)
	b.only, b.serve = reopened, true
	err := b.build(ctx)
	g := b.generation() // whatever could not be built is in it as not open: calls wait for it
	g.number = old.number
	h.retireAll(h.publish(g), old)
	b.keepTrying()
	for _, s := range closed {
		if p := h.live.Load().stores[s.store]; p != nil && p.absent != nil {
			err = config.Join(err, fmt.Errorf("the store %q is unavailable: its old backend cannot be opened again: %w", s.store, p.absent.err()))
		}
	}
	return config.Join(err, b.done(ctx))
}

// reopened has a builder leave everything as it is that is open.
const reopened = "\x00"

// at reports the phase of a reload to a test.
func (h *Host) at(phase string) {
	if h.phase != nil {
		h.phase(phase)
	}
}
