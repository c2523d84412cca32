package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// manyFrames combines the frames of several callers, one of them unreadable. It sends those
// that the plugin leaves again, as a host does.
func manyFrames(g *guest) error {
	const n = 100
	var frames [][]byte
	for i := range n {
		message := abi.AppendGet(nil, known)
		if i == n/2 {
			message = []byte{0x0a, 0xff}
		}
		frames = append(frames, g.frame(uint32(i)<<24|uint32(i), abi.OpGet, message))
	}
	replies, err := g.exchange(0, frames...)
	if err != nil {
		return err
	}
	for i, r := range replies {
		switch {
		case i == n/2 && r.code != storage.Serialization && r.code != storage.InvalidArgument && !(g.plain && r.code == storage.Internal):
			return fmt.Errorf("a request that cannot be read is answered with %s, want %s", r.code.Name(), storage.Serialization.Name())
		case i != n/2 && g.filled && r.code != storage.OK:
			return fmt.Errorf("request %d is answered with %s", i, r.code.Name())
		}
	}
	return nil
}

// smallBudget asks for more than there is room for.
func smallBudget(g *guest) error {
	size := 4000
	if limit := g.b.Info().Limits.Value; limit > 0 {
		size = min(size, limit)
	}
	if err := g.store.Set(g.ctx, []byte("large"), make([]byte, size)); err != nil {
		return fmt.Errorf("%w: the plugin cannot be written to: %v", errNotApplicable, err)
	}
	budget := uint32(size/2 + 200)
	for op, message := range map[abi.Op][]byte{
		abi.OpGet:     abi.AppendGet(nil, []byte("large")),
		abi.OpGetMany: abi.AppendGetMany(nil, [][]byte{[]byte("large"), []byte("large")}),
	} {
		replies, err := g.exchange(int(budget), g.within(7, int(budget), op, message))
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if code := replies[0].code; code != storage.RangeLimit {
			return fmt.Errorf("%s over its budget of %d is answered with %s and %d bytes, want %s", op, budget, code.Name(), replies[0].size, storage.RangeLimit.Name())
		}
	}
	return nil
}

// largeThenSmall makes the request buffer grow and shrink.
func largeThenSmall(g *guest) error {
	size := 8 << 20
	if l := g.b.Info().Limits; l.Value > 0 {
		size = min(size, l.Value)
	}
	for range 3 {
		err := g.store.Set(g.ctx, []byte("large"), make([]byte, size))
		if err != nil && storage.Unknown(err) || errors.Is(err, storage.ErrUnavailable) {
			return fmt.Errorf("a value of %d bytes, which its limits allow: %w", size, err)
		}
		for range 10 {
			if _, err := g.store.Get(g.ctx, []byte("small")); err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		if v, got := g.store.Get(g.ctx, []byte("large")); err == nil && (got != nil || len(v) != size) {
			return fmt.Errorf("%d of %d bytes come back, %v", len(v), size, got)
		}
	}
	return nil
}

// spaceUsedUp writes until the plugin says that there is no room.
func spaceUsedUp(g *guest) error {
	size := 256 << 10
	if limit := g.b.Info().Limits.Value; limit > 0 {
		size = min(size, limit)
	}
	value := make([]byte, size)
	for i := 0; int64(i*size) < g.of.room; i++ {
		err := g.store.Set(g.ctx, fmt.Appendf(nil, "fill%09d", i), value)
		switch {
		case err == nil:
			continue
		case i == 0 && !errors.Is(err, storage.ErrUnavailable):
			return fmt.Errorf("%w: the plugin cannot be written to: %v", errNotApplicable, err)
		case !errors.Is(err, storage.ErrNoSpace):
			return fmt.Errorf("after %d values of %d bytes: %w, want %s", i, size, err, storage.NoSpace)
		}
		if err := g.store.Delete(g.ctx, []byte("fill000000000")); err != nil {
			return fmt.Errorf("a delete when the space is used up: %w", err)
		}
		return nil
	}
	g.of.endless = true
	return fmt.Errorf("%w: there is room for more than %d bytes", errNotApplicable, g.of.room)
}

// unknownConfig opens the plugin with a setting that it cannot have.
func unknownConfig(ctx context.Context, open opener) error {
	b, err := open(ctx, json.RawMessage(`{"no such setting": true}`))
	if err == nil {
		b.Close(ctx)
		return errors.New("an unknown setting is accepted silently, so that typing errors in a configuration stay unnoticed")
	}
	if e := storage.AsError(err); e.Code != storage.InvalidArgument {
		return fmt.Errorf("a setting that it cannot know is answered with %w, want %s", err, storage.InvalidArgument)
	}
	return nil
}
