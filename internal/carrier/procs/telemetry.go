//go:build unix

package procs

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/internal/carrier"
)

// meters holds what a backend counts.
type meters struct {
	calls atomic.Int64
	stop  func() error
}

// meter registers the metrics. It returns nil without a meter provider.
func (b *Backend) meter() (*meters, error) {
	p := b.p.opts.Meter
	if p == nil {
		return nil, nil
	}
	ms, own := &meters{}, carrier.Attributes(b.p.opts.Name, b.store)
	unobserve, err := carrier.Observe(p, scope, own, b.life.Status, ms.calls.Load)
	if err != nil {
		return nil, err
	}
	unlog, err := b.p.logged.Measure(p, own[0])
	if err != nil {
		return nil, errors.Join(err, unobserve())
	}
	ms.stop = both(unobserve, unlog)
	losses, err := p.Meter(scope).Int64ObservableCounter("plinth.instance.losses", metric.WithUnit("{loss}"), metric.WithDescription("Losses of state that running plugins have told."))
	if err != nil {
		return nil, errors.Join(err, ms.stop())
	}
	with := metric.WithAttributeSet(attribute.NewSet(own...))
	registered, err := p.Meter(scope).RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(losses, b.losses.Load(), with)
		return nil
	}, losses)
	if err != nil {
		return nil, errors.Join(err, ms.stop())
	}
	ms.stop = both(registered.Unregister, ms.stop)
	return ms, nil
}

func both(a, b func() error) func() error {
	return func() error { return errors.Join(a(), b()) }
}
