//go:build unix

package procs

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

// followEvery is how often a plugin is asked for its incarnation.
const followEvery = time.Second

// incarnationDetail is the detail of a Health by which a plugin says that it is another
// than at its start: abi/SPEC.md, "Health".
const incarnationDetail = "incarnation"

// follow asks a durable plugin whose state may be lost while it runs, as on a cluster, for
// its incarnation, until stop is closed: caches flush when it changes. A plugin that does
// not report it is not asked again.
func (b *Backend) follow(r *run, stop <-chan struct{}) {
	if !r.info.Caps.Has(storage.CapDurable) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.tended.Go(func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	})
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if !b.incarnated(ctx, r) {
			return
		}
	}
}

// incarnated asks once, and reports whether to ask again.
func (b *Backend) incarnated(ctx context.Context, r *run) bool {
	before := b.info.Load()
	c := frames.Begin(abi.OpHealth, &abi.Header{Now: b.time.Millis()})
	c.Frame = abi.AppendProbe(c.Frame, storage.Liveness)
	message, _, _, err := r.transport.ask(ctx, abi.OpHealth, c)
	c.Free()
	if err != nil {
		return true
	}
	var h storage.Health
	if err := abi.DecodeHealth(message, &h); err != nil {
		return true
	}
	id, err := hex.DecodeString(h.Details[incarnationDetail])
	if err != nil || len(id) != len(before.Incarnation) {
		return false
	}
	if [16]byte(id) == before.Incarnation {
		return true
	}
	now := *before
	now.Incarnation = [16]byte(id)
	if b.run.Load() != r || !b.info.CompareAndSwap(before, &now) { // another run has begun
		return true
	}
	b.losses.Add(1)
	if f := b.whenLost.Load(); f != nil {
		(*f)()
	}
	return true
}
