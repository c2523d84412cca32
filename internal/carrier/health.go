package carrier

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// BusyAfter limits how long a probe waits for a plugin that answers other calls: after that
// the plugin counts as healthy, without details.
const BusyAfter = time.Second

// Watched is a backend whose plugin may be lost.
type Watched interface {
	// Wrap returns an error with the plugin as its layer.
	Wrap(err error) error
	// Status returns the status of the plugin.
	Status() supervise.Status
	// Closed reports whether no more calls are accepted, for good.
	Closed() bool
	// Usable reports whether a call would be served.
	Usable() bool
	// Working starts an observation; the returned function reports whether other calls
	// have been answered since.
	Working() func() bool
	// Wrong returns what is known to be wrong with a plugin that answers, or "".
	Wrong() string
	// SetDegraded records what a probe found to be wrong, or "".
	SetDegraded(wrong string)
}

// Health returns the health of a backend's plugin and, except for liveness, calls the
// plugin. Its details include lost plugins.
func Health(ctx context.Context, b Watched, p storage.Probe, ask func(context.Context) (storage.Health, error)) (h storage.Health, err error) {
	if b.Closed() {
		return h, b.Wrap(&storage.Error{Code: storage.ShuttingDown})
	}
	s := b.Status()
	switch {
	case !b.Usable() && (s.State == supervise.Failed || p != storage.Liveness):
		h.Status, h.Reason = storage.Unhealthy, s.Reason
	case p == storage.Liveness:
		h.Status = storage.Healthy
	default:
		if h, err = probe(ctx, b, ask); err != nil {
			return storage.Health{}, err
		}
		s = b.Status()
	}
	return s.Describe(h), nil
}

// probe asks the plugin, and records its answer. A plugin that does not answer the probe is
// healthy as long as it answers other calls.
func probe(ctx context.Context, b Watched, ask func(context.Context) (storage.Health, error)) (storage.Health, error) {
	working := b.Working()
	soon, cancel := context.WithTimeout(ctx, BusyAfter)
	h, err := ask(soon)
	late := ctx.Err() == nil && errors.Is(soon.Err(), context.DeadlineExceeded)
	cancel()
	switch {
	case err != nil && late && working():
		h, err = storage.Health{Status: storage.Healthy, Details: map[string]string{"busy": "true"}}, nil
	case err != nil && late: // it may be slow
		h, err = ask(ctx)
	}
	if err != nil {
		return h, err
	}
	if wrong := b.Wrong(); wrong != "" && h.Status == storage.Healthy {
		h.Status, h.Reason = storage.Degraded, wrong
	}
	wrong := ""
	if h.Status != storage.Healthy {
		wrong = cmp.Or(h.Reason, h.Status.String())
	}
	b.SetDegraded(wrong)
	return h, nil
}

// Health says how the plugin is.
func (c Calls) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return Health(ctx, c.To, p, func(ctx context.Context) (storage.Health, error) { return c.askHealth(ctx, p) })
}

func (c Calls) askHealth(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	message, err := c.To.Ask(ctx, abi.OpHealth, Message{Probe: p})
	if err != nil {
		return h, err
	}
	if err := abi.DecodeHealth(message, &h); err != nil {
		return h, c.To.Wrap(Unreadable(abi.OpHealth, err))
	}
	answer.Health(&h)
	return h, nil
}
