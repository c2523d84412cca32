package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/log/logtest"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// recorded is a sink that keeps what it gets.
type recorded struct {
	mu     sync.Mutex
	events []auth.Event
	do     func(context.Context, auth.Event) error // if nil, keep it
}

func (r *recorded) Record(ctx context.Context, e auth.Event) error {
	if r.do != nil {
		if err := r.do(ctx, e); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// said are the events since the last call.
func (r *recorded) said() (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		texts = append(texts, fmt.Sprintf("%s %s %s %s %v", e.Actor, e.Action, e.Resource(), e.Result, e.Metadata))
	}
	r.events = nil
	return texts
}

func audited(t *testing.T, keys auth.Store, sink auth.Sink, o auth.AuditOptions) *auth.Audited {
	t.Helper()
	a, err := auth.NewAudited(keys, sink, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Every operation is an intent before and what came of it after; several keys are one.
func TestEveryOperationIsAudited(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := auth.WithActor(t.Context(), "ada")
		sink := &recorded{}
		a := audited(t, keys, sink, auth.AuditOptions{})
		k := newKey(t, "k")
		for _, c := range []struct {
			do     func() error
			intent string
			result string
		}{
			{func() error { return a.Create(ctx, org, k) }, "store_key org:7/kid:k intent map[]", "success map[]"},
			{func() error { return a.Create(ctx, org, k) }, "store_key org:7/kid:k intent map[]", "failure map[]"},
			{func() error { _, err := a.Get(ctx, org, "k"); return err }, "access_key org:7/kid:k intent map[]", "success map[]"},
			{func() error { _, err := a.Get(ctx, org, "none"); return err }, "access_key org:7/kid:none intent map[]", "failure map[]"},
			{func() error { _, err := a.GetMany(ctx, org, []string{"k", "none"}); return err }, "access_keys org:7 intent map[key_count:2]", "success map[found:1 key_count:2]"},
			{func() error { kids(t, a.List(ctx, org)); return nil }, "access_keys org:7 intent map[list:all]", "success map[found:1 list:all]"},
			{func() error { kids(t, a.ListActive(ctx, org)); return nil }, "access_keys org:7 intent map[list:active]", "success map[found:1 list:active]"},
			{func() error { return a.Deactivate(ctx, org, "k") }, "deactivate_key org:7/kid:k intent map[]", "success map[]"},
			{func() error { return a.Activate(ctx, org, "k") }, "activate_key org:7/kid:k intent map[]", "success map[]"},
			{func() error { return a.Rotate(ctx, org, "k", newKey(t, "n"), 0) }, "rotate_key org:7/kid:k intent map[grace:0s new_kid:n old_kid:k]", "success map[grace:0s new_kid:n old_kid:k]"},
			{func() error { return a.Revoke(ctx, org, "n", "why") }, "revoke_key org:7/kid:n intent map[reason:why]", "success map[reason:why]"},
			{func() error { return a.Delete(ctx, org, "n") }, "delete_key org:7/kid:n intent map[]", "success map[]"},
			{func() error {
				return errors.Join(a.CreateMany(ctx, org, []auth.PublicSigningKey{newKey(t, "x"), k})...)
			}, "bulk_store_keys org:7 intent map[key_count:2]", "failure map[failed:1 key_count:2 succeeded:1]"},
			{func() error { return errors.Join(a.RevokeMany(ctx, org, []auth.Revocation{{Kid: "x"}})...) }, "bulk_revoke_keys org:7 intent map[key_count:1]", "success map[failed:0 key_count:1 succeeded:1]"},
		} {
			err := c.do()
			got := sink.said()
			what := strings.TrimSuffix(c.intent, c.intent[strings.Index(c.intent, " intent"):])
			if len(got) != 2 || got[0] != "ada "+c.intent || got[1] != "ada "+what+" "+c.result || (err == nil) != strings.HasPrefix(c.result, "success") {
				t.Errorf("%v: %q", err, got)
			}
		}
	})
}

// What else an event says: the same operation, the trace, reasons, and nothing of the key.
func TestEvents(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		sink := &recorded{}
		a := audited(t, keys, sink, auth.AuditOptions{Now: clock.get})
		ctx, span := sdktrace.NewTracerProvider().Tracer("").Start(t.Context(), "s")
		k := newKey(t, "k")
		want(t, "create", a.Create(ctx, org, k), nil)
		want(t, "create", a.Create(ctx, org, k), storage.AlreadyExists)
		events := sink.events
		record, _ := k.MarshalJSON()
		_, rest, _ := strings.Cut(string(record), `"public_key":"`)
		for i, e := range events {
			if e.Actor != "unknown" || !e.Time.Equal(start) || e.TraceID != span.SpanContext().TraceID().String() || strings.Contains(fmt.Sprintf("%+v", e), rest[:43]) {
				t.Errorf("%+v", e)
			}
			if same := e.Operation == events[i&^1].Operation; !same || e.Operation == events[(i+2)%4].Operation {
				t.Errorf("the operations of %d and others are mixed up", i)
			}
		}
		if !strings.Contains(events[3].Reason, "in use") {
			t.Errorf("the reason is %q", events[3].Reason)
		}
		// What callers gave is bounded before it is looked at.
		want(t, "a long kid", a.Revoke(auth.WithActor(ctx, strings.Repeat("a\xff", 1<<20)), org, strings.Repeat("k", 1<<20), strings.Repeat("r", 1<<20)), storage.InvalidArgument)
		for _, e := range sink.events[4:] {
			if n := len(fmt.Sprintf("%+v", e)); n > 20_000 {
				t.Errorf("an event has %d bytes", n)
			}
		}
	})
}

// A sink that fails, panics or hangs keeps everything from being done, or nothing.
func TestPolicies(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		hang := make(chan struct{})
		defer close(hang)
		n := 0
		for name, do := range map[string]func(context.Context, auth.Event) error{
			"fails":         func(context.Context, auth.Event) error { return errors.New("full") },
			"panics":        func(context.Context, auth.Event) error { panic("full") },
			"hangs":         func(context.Context, auth.Event) error { <-hang; return nil },
			"hangs in time": func(ctx context.Context, _ auth.Event) error { <-ctx.Done(); return ctx.Err() },
		} {
			n++
			k := newKey(t, fmt.Sprint("k", n))
			var logged bytes.Buffer
			o := auth.AuditOptions{Timeout: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&logged, nil))}
			closed := audited(t, keys, &recorded{do: do}, o)
			want(t, name, closed.Create(ctx, org, k), storage.Unavailable)
			_, err := keys.Get(ctx, org, k.Kid)
			want(t, name, err, storage.NotFound)
			for _, err := range closed.CreateMany(ctx, org, []auth.PublicSigningKey{k, k}) {
				want(t, name, err, storage.Unavailable)
			}
			for _, err := range closed.List(ctx, org) {
				want(t, name, err, storage.Unavailable)
			}
			o.Policy = auth.Open
			open := audited(t, keys, &recorded{do: do}, o)
			want(t, name, open.Create(ctx, org, k), nil)
			if !strings.Contains(logged.String(), "an audit event is lost") || !strings.Contains(logged.String(), "result=success") {
				t.Errorf("%s: logged is %s", name, logged.String())
			}
		}
	})
}

// With the policy closed a key whose reading cannot be recorded is withheld; a change that
// was recorded as an intent is done, and says so.
func TestSinkFailsMidway(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		a := audited(t, keys, &recorded{do: func(_ context.Context, e auth.Event) error {
			if e.Result != auth.Intent {
				return errors.New("full")
			}
			return nil
		}}, auth.AuditOptions{Log: slog.New(slog.DiscardHandler)})
		want(t, "create", a.Create(ctx, org, newKey(t, "k")), nil)
		k, err := a.Get(ctx, org, "k")
		if want(t, "get", err, storage.Unavailable); k != (auth.PublicSigningKey{}) {
			t.Error("it is given away")
		}
		_, err = a.GetMany(ctx, org, []string{"k"})
		want(t, "get many", err, storage.Unavailable)
	})
}

// Sixty-four events hang, and no more: those after them fail at once.
func TestHangingSinkIsBounded(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	a := audited(t, auth.NewKeys(func(identity.OrganizationSlug) (*storage.Store, string) { panic("nothing is done") }, nil),
		&recorded{do: func(context.Context, auth.Event) error { <-hang; return nil }}, auth.AuditOptions{Timeout: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	for range 200 {
		want(t, "delete", a.Delete(t.Context(), org, "k"), storage.Unavailable)
	}
	begun := time.Now()
	for range 200 {
		a.Delete(t.Context(), org, "k")
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("200 events wait %s for a sink that hangs", took)
	}
}

func TestLogSinks(t *testing.T) {
	e := auth.Event{Time: start, Actor: "ada", Action: auth.RevokeKey, Organization: 7, Kid: "k", Result: auth.Failure, Reason: "why",
		Operation: "op", TraceID: "00ff", Metadata: map[string]string{"b": "2", "a": "1"}}
	wanted := []string{"audit_event", "2026-01-02T03:04:05+00:00", "ada", "revoke_key", "org:7/kid:k", "failure: why", "a=1, b=2", "00ff"}
	var text bytes.Buffer
	want(t, "slog", auth.SlogSink(slog.New(slog.NewTextHandler(&text, nil))).Record(t.Context(), e), nil)
	logs := logtest.NewRecorder()
	want(t, "otel", auth.OTelSink(logs).Record(t.Context(), e), nil)
	otel := ""
	for _, records := range logs.Result() {
		for _, r := range records {
			otel += fmt.Sprintf("%+v", r)
		}
	}
	for _, w := range wanted {
		if !strings.Contains(text.String(), w) {
			t.Errorf("%s is not in %s", w, text.String())
		}
		if !strings.Contains(otel, w) {
			t.Errorf("%s is not in %s", w, otel)
		}
	}
}
