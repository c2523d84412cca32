package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// How long a plugin may take to show that it works.
const (
	gateTime = 30 * time.Second
	kitTime  = 15 * time.Minute
)

// gate tries plugins whose files are other ones than before, each on a scratch instance,
// before a store is put on them.
func (b *builder) gate(ctx context.Context) error {
	for _, name := range b.order() {
		bc := b.cfg.Stores[name].Backend
		p, before := b.plugins[bc.Plugin], b.old.plugins[bc.Plugin]
		if p == nil || before == nil || p == before {
			continue
		}
		g, can := p.Carrier.(carrier.Gated)
		was, had := before.Carrier.(carrier.Filed)
		if !can || !had || g.Gate() == carrier.GateNone || was.Digest() == g.Digest() {
			continue
		}
		b.h.at("gate")
		most := gateTime
		if g.Gate() == carrier.GateFull {
			most = kitTime
		}
		limited, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("it took longer than %s", most))
		err := b.h.try(limited, g, bc.Config)
		if limited.Err() != nil && ctx.Err() == nil {
			err = errors.Join(context.Cause(limited), err)
		}
		cancel()
		if err != nil {
			var about *carrier.FieldError
			if !errors.As(err, &about) {
				err = fmt.Errorf("the new plugin does not work on a scratch instance (gate: %s): %w", cmp.Or(g.Gate(), carrier.GateSmoke), err)
			}
			return p.at(b.cfg, err)
		}
	}
	return nil
}

// try has a plugin show that it works: by the kit, or by a few calls of a scratch instance.
func (h *Host) try(ctx context.Context, g carrier.Gated, own carrier.Config) error {
	if g.Gate() == carrier.GateFull {
		if h.settings.Kit == nil {
			return carrier.Fieldf("gate", "full requires a program with the conformance kit, which this one does not contain")
		}
		subject, err := g.Subject(own)
		if err != nil {
			return err
		}
		return h.settings.Kit(ctx, subject)
	}
	opened, err := g.Scratch(ctx, own)
	if err != nil || opened == nil { // it keeps its items elsewhere: there is nothing to try on
		return err
	}
	defer func() { _ = opened.Close(context.WithoutCancel(ctx)) }() // it is of no use any more
	return smoke(ctx, opened, h.clock.Now)
}

// smoke does with an empty backend what every store does, and compares what comes.
func smoke(ctx context.Context, b storage.Backend, now func() time.Time) error {
	s := storage.New(b, storage.Settings{Clock: now, Borrowed: true})
	items := map[string][]byte{"smoke/a": []byte("1"), "smoke/b": {}, "smoke/c": bytes.Repeat([]byte{0, 255, '\n'}, 300)}
	var ops []storage.Op
	keys := slices.Sorted(maps.Keys(items))
	for _, key := range keys {
		ops = append(ops, storage.Put([]byte(key), items[key]))
	}
	if !s.Info().Caps.Has(storage.CapAtomic) {
		for i := range ops {
			if _, err := s.Apply(ctx, &storage.WriteSet{Ops: ops[i : i+1]}); err != nil {
				return fmt.Errorf("set: %w", err)
			}
		}
	} else if _, err := s.Apply(ctx, &storage.WriteSet{Ops: ops}); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	for _, key := range keys {
		v, err := s.Get(ctx, []byte(key))
		if err != nil || !bytes.Equal(v, items[key]) {
			return fmt.Errorf("get: read a value that differs from the written one (%d bytes, not %d): %w", len(v), len(items[key]), err)
		}
	}
	var seen []string
	for item, err := range s.Prefix(ctx, []byte("smoke/"), storage.RangeOptions{}) {
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		seen = append(seen, string(item.Key))
	}
	if slices.Sort(seen); !slices.Equal(seen, keys) {
		return fmt.Errorf("scan: got the keys %q, expected %q", seen, keys)
	}
	_, err := s.Apply(ctx, &storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte(keys[0]))}, Ops: []storage.Op{storage.Put([]byte(keys[0]), []byte("2"))}})
	if !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("apply: expected a conflict for a failed check, got %v", err)
	}
	if err := s.Delete(ctx, []byte(keys[0])); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := s.Get(ctx, []byte(keys[0])); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("get: expected not_found for a deleted key, got %v", err)
	}
	return nil
}

// probeTime limits how long a backend that was just opened may take to say how it is.
const probeTime = 5 * time.Second

// probe refuses backends that were opened and are not ready.
func (b *builder) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, o := range b.opened {
		h, err := o.Health(ctx, storage.Readiness)
		if err == nil && h.Status == storage.Unhealthy {
			err = errors.New(h.Reason)
		}
		if err != nil {
			return b.cfg.Root().Errorf(fmt.Sprintf("stores.%s.backend", o.store), "the backend is not ready: %v", err)
		}
	}
	return nil
}
