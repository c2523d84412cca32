package faults

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend makes calls fail. It is safe for concurrent use.
type Backend struct {
	next  storage.Backend
	rules []rule
	layer string
	fired wrappers.Counter
	mu    sync.Mutex
	dice  *rand.Rand
}

type rule struct {
	Rule
	prefix []byte
	code   storage.Code // OK: no error
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	seed := c.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	b := &Backend{next: next, layer: s.Stage, dice: rand.New(rand.NewPCG(seed, 0))}
	for _, r := range c.Rules {
		b.rules = append(b.rules, rule{r, []byte(r.Prefix), codeOf(r.Error)})
	}
	var err error
	b.fired, err = s.Counter("plinth.faults.injected", "{fault}", "Calls that were made slow or to fail on purpose.")
	return b, err
}

// strike returns the rule that applies to a call, or nil. touches reports whether
// the call touches a key with a prefix.
func (b *Backend) strike(call string, touches func(prefix []byte) bool) *rule {
	for i := range b.rules {
		r := &b.rules[i]
		if len(r.Calls) > 0 && !slices.Contains(r.Calls, call) || len(r.prefix) > 0 && !touches(r.prefix) {
			continue
		}
		b.mu.Lock()
		hit := b.dice.Float64() < r.Rate
		b.mu.Unlock()
		if hit {
			b.fired.Add(1)
			return r
		}
	}
	return nil
}

// under makes a call under whatever happens to it.
func under[A any](ctx context.Context, b *Backend, call string, touches func([]byte) bool, do func() (A, error)) (answer A, err error) {
	r := b.strike(call, touches)
	if r == nil {
		return do()
	}
	var none A
	if r.Delay > 0 {
		timer := time.NewTimer(r.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return none, storage.ContextError(ctx)
		}
	}
	if r.code == storage.OK {
		return do()
	}
	e := &storage.Error{Code: r.code, Op: call, Layer: b.layer, Msg: r.code.Name() + ", injected"}
	if r.Applied {
		if answer, err = do(); err != nil {
			return answer, err // what really happened is worse
		}
	}
	e.Unknown = call == "apply" && (r.Applied || r.code == storage.OutcomeUnknown)
	return none, e
}

// Get calls the next backend.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return under(ctx, b, "get", func(p []byte) bool { return bytes.HasPrefix(key, p) },
		func() (storage.Item, error) { return b.next.Get(ctx, key) })
}

// GetMany calls the next backend.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	touches := func(p []byte) bool {
		return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.HasPrefix(k, p) })
	}
	return under(ctx, b, "get_many", touches, func() ([]storage.Item, error) { return b.next.GetMany(ctx, keys) })
}

// Scan calls the next backend.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return under(ctx, b, "scan", func(p []byte) bool { return overlaps(q.Start, q.End, p) },
		func() (storage.Page, error) { return b.next.Scan(ctx, q) })
}

// Changes calls the next backend.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return under(ctx, b, "changes", func(p []byte) bool { return overlaps(q.Start, q.End, p) },
		func() (storage.ChangePage, error) { return b.next.Changes(ctx, q) })
}

// Apply calls the next backend.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	touches := func(p []byte) bool {
		return slices.ContainsFunc(w.Ops, func(o storage.Op) bool {
			if o.Kind == storage.OpDeleteRange {
				return overlaps(o.Key, o.End, p)
			}
			return bytes.HasPrefix(o.Key, p)
		})
	}
	return under(ctx, b, "apply", touches, func() (uint64, error) { return b.next.Apply(ctx, w) })
}

// Health asks the next. It touches no key.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return under(ctx, b, "health", func([]byte) bool { return false },
		func() (storage.Health, error) { return b.next.Health(ctx, p) })
}

// overlaps reports whether [start, end) has room for a key with prefix p.
func overlaps(start, end, p []byte) bool {
	pEnd := storage.PrefixEnd(p)
	return (end == nil || bytes.Compare(p, end) < 0) && (pEnd == nil || bytes.Compare(start, pEnd) < 0)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

var _ storage.Backend = (*Backend)(nil)
