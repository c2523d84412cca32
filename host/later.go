package host

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/wrappers"
)

// How long an optional store that cannot be opened waits for the next try: laterFirst, then
// twice as long each time, up to laterMost.
const (
	laterFirst = time.Second
	laterMost  = time.Minute
)

// openLater gives a store that could not be opened, and that keep tries on once it is in
// force.
func (b *builder) openLater(name string, why error) {
	optional := b.cfg.Stores[name].Start == config.StartOptional
	text := "a store cannot be opened: it is unavailable, and tried again"
	if optional {
		text = "an optional store cannot be opened: it is unavailable, and tried again"
	}
	b.h.settings.Log.Warn(text, "store", name, "error", why)
	b.stores[name] = b.h.unopened(b.cfg, name, optional, why)
	b.later = append(b.later, b.stores[name])
}

// unopened returns the pipeline of a store that is not open.
func (h *Host) unopened(cfg *config.Config, name string, optional bool, why error) *pipeline {
	a := newAbsent(optional, "the store is not open: "+why.Error())
	p := &pipeline{gates: h.newGates(), store: name, plugin: cfg.Stores[name].Backend.Plugin, top: a, absent: a}
	for _, stage := range cfg.Stores[name].Pipeline {
		p.declared = append(p.declared, wrappers.Stage{Name: stage.Name, Kind: stage.Kind})
	}
	// What it will be is not known: others may write to it.
	p.backend = standIn(a, true)
	h.hold(p)
	return p
}

// keepTrying goes on trying to open what could not be.
func (b *builder) keepTrying() {
	for _, p := range b.later {
		b.h.keepTrying(p)
	}
}

// keepTrying opens a store that is in force without being open, when it can be.
func (h *Host) keepTrying(p *pipeline) {
	log := h.settings.Log.With("store", p.store)
	h.background.Go(func() {
		pauses := backoff.Doubling{First: laterFirst, Most: laterMost}
		for n := 0; backoff.Wait(h.running, pauses.Half(n), nil); n++ {
			opened, err := h.tryLater(h.running, p)
			if err == nil {
				if opened {
					log.Info("a store that could not be opened is open")
				}
				return
			}
			p.absent.say(err)
			log.Debug("the store still cannot be opened", "error", err)
		}
	})
}

// tryLater builds the store once more. Without an error it is either open now, or no longer
// what the configuration says.
func (h *Host) tryLater(ctx context.Context, p *pipeline) (opened bool, err error) {
	done, err := h.change(ctx)
	if err != nil {
		return false, nil // the host is closed
	}
	defer done()
	g := h.live.Load()
	if g.stores[p.store] != p {
		return false, nil
	}
	b := h.builder(g.cfg)
	b.only = p.store
	if err = b.build(ctx); err == nil {
		h.retireAll(h.publish(b.generation()), g)
	}
	return err == nil, config.Join(err, b.done(context.WithoutCancel(ctx)))
}
