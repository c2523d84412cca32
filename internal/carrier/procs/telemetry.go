//go:build unix

package procs

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/internal/supervise"
)

// scope is the instrumentation scope of what the carrier emits: dashboards know it by
// this name.
const scope = "github.com/plinthkv/plinth/host/procs"

// meters are what a backend counts.
type meters struct {
	calls atomic.Int64
	stop  func() error
}

// meter has what is counted observed. Nil: there is nowhere to.
func (b *Backend) meter() (*meters, error) {
	p := b.p.opts.Meter
	if p == nil {
		return nil, nil
	}
	own := []attribute.KeyValue{attribute.String("plinth.plugin", b.p.opts.Name)}
	if b.store != "" {
		own = append(own, attribute.String("db.namespace", b.store))
	}
	unstate, err := supervise.Measure(p, b.life.Status, own...)
	if err != nil {
		return nil, err
	}
	unlog, err := b.p.logged.Measure(p, own[0])
	if err != nil {
		return nil, errors.Join(err, unstate())
	}
	unstate = both(unstate, unlog)
	ms := &meters{}
	with := metric.WithAttributeSet(attribute.NewSet(own...))
	m := p.Meter(scope)
	calls, err1 := m.Int64ObservableCounter("plinth.instance.calls", metric.WithUnit("{call}"), metric.WithDescription("Requests sent into plugin instances."))
	restarts, err2 := m.Int64ObservableCounter("plinth.instance.restarts", metric.WithUnit("{restart}"), metric.WithDescription("Plugin instances that were started in the place of lost ones."))
	losses, err3 := m.Int64ObservableCounter("plinth.instance.losses", metric.WithUnit("{loss}"), metric.WithDescription("Losses of state that running plugins have told."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Join(err, unstate())
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(calls, ms.calls.Load(), with)
		o.ObserveInt64(restarts, int64(b.life.Status().Restarts), with)
		o.ObserveInt64(losses, b.losses.Load(), with)
		return nil
	}, calls, restarts, losses)
	if err != nil {
		return nil, errors.Join(err, unstate())
	}
	ms.stop = func() error { return errors.Join(registered.Unregister(), unstate()) }
	return ms, nil
}

func both(a, b func() error) func() error {
	return func() error { return errors.Join(a(), b()) }
}
