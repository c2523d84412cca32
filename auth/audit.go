package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// Action names an operation on keys or on their records.
type Action string

// The actions. InvalidateCache and ClearCache are for applications that have caches of
// their own.
const (
	StoreKey        Action = "store_key"
	RevokeKey       Action = "revoke_key"
	RotateKey       Action = "rotate_key"
	AccessKey       Action = "access_key"
	AccessKeys      Action = "access_keys" // several, or a list
	InvalidateCache Action = "invalidate_cache"
	ClearCache      Action = "clear_cache"
	DeactivateKey   Action = "deactivate_key"
	ActivateKey     Action = "activate_key"
	DeleteKey       Action = "delete_key"
	BulkStoreKeys   Action = "bulk_store_keys"
	BulkRevokeKeys  Action = "bulk_revoke_keys"
)

// The results of an event.
const (
	Intent  = "intent"  // it is about to be done
	Success = "success" // it was done
	Failure = "failure" // it was not done, or not completely
	Unknown = "unknown" // it may have been done
)

// Event records who does, or did, what. It never contains key material.
type Event struct {
	Time         time.Time
	Actor        string // from [WithActor]
	Action       Action
	Organization identity.OrganizationSlug
	Kid          string // empty if it is about several keys, or all
	Result       string // Intent before the operation, the outcome after it
	Reason       string // of a failure: the text of the error
	Operation    string // shared by an intent and its outcome, and by no other event
	TraceID      string // in hex; empty without a trace
	Metadata     map[string]string
}

// Resource returns the subject of the event: org:ORG/kid:KID, or org:ORG.
func (e *Event) Resource() string {
	if e.Kid == "" {
		return "org:" + e.Organization.String()
	}
	return "org:" + e.Organization.String() + "/kid:" + e.Kid
}

// Sink stores events. It must be safe for concurrent use, and return when the event is as
// safe as it can make it. An error means that it is not.
type Sink interface {
	Record(context.Context, Event) error
}

// Policy decides what happens if an event cannot be recorded.
type Policy string

// The policies. In either a lost event is logged.
const (
	// Closed refuses an operation if its intent was not recorded, and withholds a key if
	// reading it was not recorded.
	Closed Policy = "closed"
	// Open continues.
	Open Policy = "open"
)

// AuditOptions configure [Audited].
type AuditOptions struct {
	Policy  Policy        // by default Closed
	Timeout time.Duration // time limit of a sink for an event; by default 2 s
	Log     *slog.Logger  // logs lost events; if nil, slog.Default()
	Now     func() time.Time
}

// actorKey is that of the actor in a context.
type actorKey struct{}

// maxActor is the longest name of an actor, in bytes; what is longer is cut.
const maxActor = 256

// WithActor returns a context with the actor for audit events: a user, a service, a
// client's ID.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, clip(actor, maxActor))
}

// Actor returns the actor of ctx, or "unknown" if it has none.
func Actor(ctx context.Context) string {
	if actor, _ := ctx.Value(actorKey{}).(string); actor != "" {
		return actor
	}
	return "unknown"
}

// maxHanging bounds the events that hang in a sink. Beyond it, every event fails at once.
const maxHanging = 64

// recorder records events in time.
type recorder struct {
	sink    Sink
	o       AuditOptions
	hanging chan struct{}
}

func newRecorder(sink Sink, o AuditOptions) (*recorder, error) {
	if o.Policy == "" {
		o.Policy = Closed
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy != Closed && o.Policy != Open || o.Timeout < 0 {
		return nil, invalid("an audit has the policy %q and the timeout %s: want %q or %q, and a time", o.Policy, o.Timeout, Closed, Open)
	}
	return &recorder{sink, o, make(chan struct{}, maxHanging)}, nil
}

// begin records an intent. It fails where the policy forbids to go on.
func (r *recorder) begin(ctx context.Context, e *Event) error {
	e.Time, e.Actor, e.Result, e.Operation = r.o.Now().UTC(), Actor(ctx), Intent, operationID()
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		e.TraceID = id.String()
	}
	e.Kid = clip(e.Kid, maxKid)
	if err := r.record(ctx, *e); err != nil {
		r.lost(ctx, e, err)
		if r.o.Policy == Closed {
			return &storage.Error{Code: storage.Unavailable, Layer: "audit", Msg: "refused: the intent cannot be recorded: " + err.Error(), Err: err}
		}
	}
	return nil
}

// end records what came of it. It fails where the policy forbids to give the result away.
func (r *recorder) end(ctx context.Context, e *Event, err error) error {
	e.Time, e.Result, e.Reason = r.o.Now().UTC(), Success, ""
	switch {
	case storage.Unknown(err):
		e.Result, e.Reason = Unknown, err.Error()
	case err != nil:
		e.Result, e.Reason = Failure, err.Error()
	}
	bad := r.record(context.WithoutCancel(ctx), *e) // a caller who left is no reason to lose it
	if bad == nil {
		return nil
	}
	r.lost(ctx, e, bad)
	if r.o.Policy == Closed {
		return &storage.Error{Code: storage.Unavailable, Layer: "audit", Msg: "it is withheld: that it was read cannot be recorded: " + bad.Error(), Err: bad}
	}
	return nil
}

func (r *recorder) lost(ctx context.Context, e *Event, err error) {
	r.o.Log.ErrorContext(ctx, "an audit event is lost", "action", e.Action, "resource", e.Resource(), "actor", e.Actor, "result", e.Result, "error", err)
}

// clip bounds a text from a caller, before it is checked, and replaces invalid UTF-8 in
// it.
func clip(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "\uFFFD") }

var errSinkHangs = errors.New("the audit sink does not answer")

// record waits for the sink as long as it may take, also where that does not heed its
// context.
func (r *recorder) record(ctx context.Context, e Event) error {
	e.Reason = clip(e.Reason, maxReason)
	for name, value := range e.Metadata {
		e.Metadata[name] = clip(value, maxReason)
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	select {
	case r.hanging <- struct{}{}:
	default:
		cancel()
		return fmt.Errorf("%w: %d events wait for it", errSinkHangs, maxHanging)
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the audit sink panics: %v", p)
			}
			<-r.hanging
			cancel()
		}()
		done <- r.sink.Record(ctx, e)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select {
		case err := <-done:
			return err
		default:
			return fmt.Errorf("%w: %w", errSinkHangs, ctx.Err())
		}
	}
}
