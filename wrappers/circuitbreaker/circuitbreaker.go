package circuitbreaker

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.opentelemetry.io/otel/attribute"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend refuses calls while the one below fails. It is safe for concurrent use.
type Backend struct {
	next    storage.Backend
	hub     wrappers.Watchable // of the backend that the circuit is about
	circuit circuitbreaker.CircuitBreaker[any]
	layer   string
	refused wrappers.Counter
	changes map[circuitbreaker.State]wrappers.Counter
	vacant  *atomic.Int64 // places of trials whose callers left
	clock   func() time.Time
	delay   time.Duration
	opened  *atomic.Int64 // when it opened, by the clock, in ns; 0 if it is not open
	stop    func()        // stops the gauge
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (_ *Backend, err error) {
	b := &Backend{next: next, hub: s.Hub, layer: s.Stage, vacant: &atomic.Int64{}, clock: s.Clock, delay: c.Delay, opened: &atomic.Int64{}, changes: map[circuitbreaker.State]wrappers.Counter{}}
	if b.refused, err = s.Counter("plinth.circuit_breaker.refused", "{call}", "Calls that were refused by an open circuit."); err != nil {
		return nil, err
	}
	for _, state := range []circuitbreaker.State{circuitbreaker.ClosedState, circuitbreaker.OpenState, circuitbreaker.HalfOpenState} {
		if b.changes[state], err = s.Counter("plinth.circuit_breaker.changes", "{change}", "Changes of the circuit's state.",
			attribute.String("plinth.circuit_breaker.state", state.String())); err != nil {
			return nil, err
		}
	}
	if b.clock == nil {
		b.clock = time.Now
	}
	builder := circuitbreaker.NewBuilder[any]()
	if c.FailureRate > 0 {
		builder = builder.WithFailureRateThreshold(c.FailureRate, uint(c.MinCalls), c.Window)
	} else {
		builder = builder.WithFailureThreshold(uint(c.Failures))
	}
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b.circuit = builder.WithSuccessThreshold(uint(c.Trials)).WithDelay(c.Delay).WithJitterFactor(0.1).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			b.vacant.Store(0)
			if b.opened.Store(0); e.NewState == circuitbreaker.OpenState {
				b.opened.Store(b.clock().UnixNano())
			}
			b.changes[e.NewState].Add(1)
			log.Warn("the circuit breaker changes its state", "from", e.OldState.String(), "to", e.NewState.String())
		}).Build()
	if before, ok := s.Before.(*Backend); ok && before.hub == s.Hub { // what is known of the same backend
		b.circuit, b.vacant, b.opened = before.circuit, before.vacant, before.opened
	}
	b.stop, err = s.Gauge("plinth.circuit_breaker.open", "{circuit}", "1 while calls are refused, 0 while they are passed on.", func() int64 {
		if b.circuit.IsOpen() {
			return 1
		}
		return 0
	})
	return b, err
}

// through makes a call if the circuit lets it through.
func through[A any](ctx context.Context, b *Backend, op string, call func() (A, error)) (answer A, err error) {
	if !b.circuit.TryAcquirePermit() && !b.takeOver() && !b.due() {
		b.refused.Add(1)
		return answer, &storage.Error{Code: storage.CircuitOpen, Op: op, Layer: b.layer, RetryAfter: b.circuit.RemainingDelay()}
	}
	trial := !b.circuit.IsClosed()
	answered := false
	defer func() { b.record(trial, answered && ctx.Err() != nil, answered, err) }() // also of a panic
	answer, err = call()
	answered = true
	return answer, err
}

// record tells the circuit how a call ended. A call that its caller ended, by leaving or
// by a deadline, says nothing about the backend, nor does a backend that is being
// closed: if it was a trial, another call takes its place. A call from before the
// circuit opened is no trial, and says nothing either.
func (b *Backend) record(trial, left, answered bool, err error) {
	if !trial && !b.circuit.IsClosed() {
		return
	}
	code := storage.CodeOf(err)
	switch {
	case err != nil && left || code == storage.Canceled || code == storage.ShuttingDown:
		if trial {
			b.vacant.Add(1)
		}
	case !answered || storage.Unknown(err) || failure(code):
		b.circuit.RecordFailure()
	default:
		b.circuit.RecordSuccess()
	}
}

// due half-opens a circuit whose delay is over by the host's clock, which a test may move, and
// asks for the first trial.
func (b *Backend) due() bool {
	at := b.opened.Load()
	if at == 0 || b.clock().UnixNano()-at < int64(b.delay+b.delay/10) || !b.opened.CompareAndSwap(at, 0) {
		return false
	}
	b.circuit.HalfOpen()
	return b.circuit.TryAcquirePermit()
}

// takeOver takes the place of a trial whose caller left.
func (b *Backend) takeOver() bool {
	for {
		n := b.vacant.Load()
		if n <= 0 || !b.circuit.IsHalfOpen() {
			return false
		}
		if b.vacant.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// failure reports whether an error of this code is no answer of the backend.
func failure(c storage.Code) bool {
	switch c {
	case storage.Unavailable, storage.Timeout, storage.Internal, storage.OutcomeUnknown:
		return true
	}
	return false
}

// Get calls the next backend.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return through(ctx, b, "get", func() (storage.Item, error) { return b.next.Get(ctx, key) })
}

// GetMany calls the next backend.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return through(ctx, b, "get_many", func() ([]storage.Item, error) { return b.next.GetMany(ctx, keys) })
}

// Scan calls the next backend.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return through(ctx, b, "scan", func() (storage.Page, error) { return b.next.Scan(ctx, q) })
}

// Changes calls the next backend. A wait that ends without a change is a success. While the
// circuit is not closed nothing is waited for: a call that waits would say nothing for so long.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return through(ctx, b, "changes", func() (storage.ChangePage, error) {
		if !b.circuit.IsClosed() {
			q.Wait = min(q.Wait, 0)
		}
		return b.next.Changes(ctx, q)
	})
}

// Apply calls the next backend.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return through(ctx, b, "apply", func() (uint64, error) { return b.next.Apply(ctx, w) })
}

// Health asks the next. While the circuit is open, it is degraded at best.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	h, err := b.next.Health(ctx, p)
	if err == nil && h.Status == storage.Healthy && p != storage.Liveness && b.circuit.IsOpen() {
		h.Status, h.Reason = storage.Degraded, fmt.Sprintf("%s: the circuit is open for another %s", b.layer, b.circuit.RemainingDelay())
	}
	return h, err
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close stops the metrics. It is idempotent.
func (b *Backend) Close(context.Context) error {
	b.stop()
	return nil
}

var _ storage.Backend = (*Backend)(nil)
