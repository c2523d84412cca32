package auth

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// Instrumented wraps a [Store]. It records a span and a duration of every call, with the
// operation, the organization and the outcome; spans have the kid too. The durations are
// the histogram plinth.auth.operation.duration, which package snapshot reads.
type Instrumented struct {
	keys     Store
	tracer   trace.Tracer
	duration metric.Float64Histogram
}

// NewInstrumented returns a store that measures operations on keys. A nil provider
// records nothing. A missing store is an InvalidArgument.
func NewInstrumented(keys Store, tracer trace.TracerProvider, meter metric.MeterProvider) (*Instrumented, error) {
	if isNil(keys) {
		return nil, invalid("an instrumented store requires a store of keys")
	}
	if tracer == nil {
		tracer = tracenoop.NewTracerProvider()
	}
	if meter == nil {
		meter = metricnoop.NewMeterProvider()
	}
	duration, err := meter.Meter(scope).Float64Histogram("plinth.auth.operation.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of operations on signing keys."),
		metric.WithExplicitBucketBoundaries(1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	return &Instrumented{keys, tracer.Tracer(scope), duration}, err
}

// outcome returns the outcome of an operation: the name of a storage.Code, or invalid_state.
func outcome(err error) string {
	if errors.Is(err, InvalidState) {
		return "invalid_state"
	}
	return storage.CodeOf(err).Name()
}

// measure begins an operation, and returns what ends it.
func (i *Instrumented) measure(ctx context.Context, operation string, org identity.OrganizationSlug, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	begun := time.Now()
	ctx, span := i.tracer.Start(ctx, "auth."+operation, trace.WithAttributes(append(attrs, attribute.String("plinth.auth.organization", org.String()))...))
	return ctx, func(err error) {
		what := outcome(err)
		i.duration.Record(ctx, time.Since(begun).Seconds(), metric.WithAttributes(attribute.String("plinth.auth.operation", operation), attribute.String("plinth.outcome", what)))
		span.SetAttributes(attribute.String("plinth.outcome", what))
		if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConflict) {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func kidOf(kid string) attribute.KeyValue {
	return attribute.String("plinth.auth.kid", clip(kid, maxKid))
}

func countOf(n int) attribute.KeyValue { return attribute.Int("plinth.auth.keys", n) }

// Create implements [Store].
func (i *Instrumented) Create(ctx context.Context, org identity.OrganizationSlug, key PublicSigningKey) (err error) {
	ctx, end := i.measure(ctx, "create", org, kidOf(key.Kid))
	defer func() { end(err) }()
	return i.keys.Create(ctx, org, key)
}

// CreateMany implements [Store].
func (i *Instrumented) CreateMany(ctx context.Context, org identity.OrganizationSlug, keys []PublicSigningKey) (errs []error) {
	ctx, end := i.measure(ctx, "create_many", org, countOf(len(keys)))
	defer func() { end(errors.Join(errs...)) }()
	return i.keys.CreateMany(ctx, org, keys)
}

// Get implements [Store].
func (i *Instrumented) Get(ctx context.Context, org identity.OrganizationSlug, kid string) (k PublicSigningKey, err error) {
	ctx, end := i.measure(ctx, "get", org, kidOf(kid))
	defer func() { end(err) }()
	return i.keys.Get(ctx, org, kid)
}

// GetMany implements [Store].
func (i *Instrumented) GetMany(ctx context.Context, org identity.OrganizationSlug, kids []string) (keys []*PublicSigningKey, err error) {
	ctx, end := i.measure(ctx, "get_many", org, countOf(len(kids)))
	defer func() { end(err) }()
	return i.keys.GetMany(ctx, org, kids)
}

// List implements [Store]. Its duration is that of the whole list, including the work of
// the caller.
func (i *Instrumented) List(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return i.list(ctx, "list", org, i.keys.List)
}

// ListActive implements [Store]; see List.
func (i *Instrumented) ListActive(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return i.list(ctx, "list_active", org, i.keys.ListActive)
}

func (i *Instrumented) list(ctx context.Context, operation string, org identity.OrganizationSlug,
	list func(context.Context, identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error]) iter.Seq2[PublicSigningKey, error] {
	return func(yield func(PublicSigningKey, error) bool) {
		ctx, end := i.measure(ctx, operation, org)
		var failed error
		defer func() { end(failed) }()
		for k, err := range list(ctx, org) {
			if err != nil {
				failed = err
			}
			if !yield(k, err) {
				return
			}
		}
	}
}

// Activate implements [Store].
func (i *Instrumented) Activate(ctx context.Context, org identity.OrganizationSlug, kid string) (err error) {
	ctx, end := i.measure(ctx, "activate", org, kidOf(kid))
	defer func() { end(err) }()
	return i.keys.Activate(ctx, org, kid)
}

// Deactivate implements [Store].
func (i *Instrumented) Deactivate(ctx context.Context, org identity.OrganizationSlug, kid string) (err error) {
	ctx, end := i.measure(ctx, "deactivate", org, kidOf(kid))
	defer func() { end(err) }()
	return i.keys.Deactivate(ctx, org, kid)
}

// Revoke implements [Store].
func (i *Instrumented) Revoke(ctx context.Context, org identity.OrganizationSlug, kid, reason string) (err error) {
	ctx, end := i.measure(ctx, "revoke", org, kidOf(kid))
	defer func() { end(err) }()
	return i.keys.Revoke(ctx, org, kid, reason)
}

// RevokeMany implements [Store].
func (i *Instrumented) RevokeMany(ctx context.Context, org identity.OrganizationSlug, revocations []Revocation) (errs []error) {
	ctx, end := i.measure(ctx, "revoke_many", org, countOf(len(revocations)))
	defer func() { end(errors.Join(errs...)) }()
	return i.keys.RevokeMany(ctx, org, revocations)
}

// Rotate implements [Store].
func (i *Instrumented) Rotate(ctx context.Context, org identity.OrganizationSlug, old string, next PublicSigningKey, grace time.Duration) (err error) {
	ctx, end := i.measure(ctx, "rotate", org, kidOf(old))
	defer func() { end(err) }()
	return i.keys.Rotate(ctx, org, old, next, grace)
}

// Delete implements [Store].
func (i *Instrumented) Delete(ctx context.Context, org identity.OrganizationSlug, kid string) (err error) {
	ctx, end := i.measure(ctx, "delete", org, kidOf(kid))
	defer func() { end(err) }()
	return i.keys.Delete(ctx, org, kid)
}

var _ Store = (*Instrumented)(nil)
