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

// BusyAfter is how long a plugin that answers others may let a probe wait: it is well then,
// and does not say more.
const BusyAfter = time.Second

// Watched is a backend whose plugin may be lost.
type Watched interface {
	// Status is how the plugin is.
	Status() supervise.Status
	// Closed reports whether no more calls are taken, for good.
	Closed() bool
	// Usable reports whether a call would find something that takes it.
	Usable() bool
	// Working begins to look; what it returns reports whether others have been answered since.
	Working() func() bool
	// Wrong is what the plugin is known to lack though it answers; empty: nothing.
	Wrong() string
	// Is notes what a probe found to be wrong; empty: nothing.
	Is(wrong string)
}

// Health says how the plugin is, and, but for liveness, asks it. Its details tell of
// plugins that were lost.
func (c Calls) Health(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	if c.To.Closed() {
		return h, c.To.Wrap(&storage.Error{Code: storage.ShuttingDown})
	}
	s := c.To.Status()
	switch {
	case !c.To.Usable() && (s.State == supervise.Failed || p != storage.Liveness):
		h.Status, h.Reason = storage.Unhealthy, s.Reason
	case p == storage.Liveness:
		h.Status = storage.Healthy
	default:
		if h, err = c.probe(ctx, p); err != nil {
			return storage.Health{}, err
		}
		s = c.To.Status()
	}
	return s.Describe(h), nil
}

// probe asks the plugin, and notes what it says. One that leaves it waiting is well as
// long as it answers others.
func (c Calls) probe(ctx context.Context, p storage.Probe) (storage.Health, error) {
	working := c.To.Working()
	soon, cancel := context.WithTimeout(ctx, BusyAfter)
	h, err := c.askHealth(soon, p)
	late := ctx.Err() == nil && errors.Is(soon.Err(), context.DeadlineExceeded)
	cancel()
	switch {
	case err != nil && late && working():
		h, err = storage.Health{Status: storage.Healthy, Details: map[string]string{"busy": "true"}}, nil
	case err != nil && late: // it may be slow
		h, err = c.askHealth(ctx, p)
	}
	if err != nil {
		return h, err
	}
	if wrong := c.To.Wrong(); wrong != "" && h.Status == storage.Healthy {
		h.Status, h.Reason = storage.Degraded, wrong
	}
	wrong := ""
	if h.Status != storage.Healthy {
		wrong = cmp.Or(h.Reason, h.Status.String())
	}
	c.To.Is(wrong)
	return h, nil
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
