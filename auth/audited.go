package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/identity"
)

// operationID returns a new ID of an operation.
func operationID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Audited wraps a [Store]. It records an intent before each operation and its outcome after
// it, with the actor and the trace of the context. An operation on several keys, and a
// list, counts as one.
//
// Its errors are those of the store below and, with the policy Closed, Unavailable from
// the layer "audit" if the sink failed: then nothing was done, and no key is returned. If
// a sink fails to record the outcome of a change, that is logged, and the intent stays in
// the sink without an outcome: the change is done.
type Audited struct {
	keys Store
	r    *recorder
}

// NewAudited returns a store that records operations on keys in a sink. A missing store or
// sink is an InvalidArgument.
func NewAudited(keys Store, sink Sink, o AuditOptions) (*Audited, error) {
	switch {
	case isNil(keys):
		return nil, invalid("an audit requires a store of keys")
	case isNil(sink):
		return nil, invalid("an audit requires a sink")
	}
	r, err := newRecorder(sink, o)
	if err != nil {
		return nil, err
	}
	return &Audited{keys, r}, nil
}

// change records a change.
func (a *Audited) change(ctx context.Context, e *Event, do func() error) error {
	if err := a.r.begin(ctx, e); err != nil {
		return err
	}
	err := do()
	_ = a.r.end(ctx, e, err) // what is done is done, and its intent is recorded
	return err
}

// many records a change of several keys.
func (a *Audited) many(ctx context.Context, e *Event, n int, do func() []error) []error {
	e.Metadata = map[string]string{"key_count": strconv.Itoa(n)}
	var errs []error
	err := a.change(ctx, e, func() error {
		errs = do()
		failed := 0
		for _, err := range errs {
			if err != nil {
				failed++
			}
		}
		e.Metadata = map[string]string{"key_count": strconv.Itoa(n), "succeeded": strconv.Itoa(n - failed), "failed": strconv.Itoa(failed)}
		if failed > 0 {
			return fmt.Errorf("%d of %d keys failed", failed, n)
		}
		return nil
	})
	if errs == nil { // it was not begun
		errs = make([]error, n)
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// Create implements [Store].
func (a *Audited) Create(ctx context.Context, org identity.OrganizationSlug, key PublicSigningKey) error {
	return a.change(ctx, &Event{Action: StoreKey, Organization: org, Kid: key.Kid}, func() error { return a.keys.Create(ctx, org, key) })
}

// CreateMany implements [Store].
func (a *Audited) CreateMany(ctx context.Context, org identity.OrganizationSlug, keys []PublicSigningKey) []error {
	return a.many(ctx, &Event{Action: BulkStoreKeys, Organization: org}, len(keys), func() []error { return a.keys.CreateMany(ctx, org, keys) })
}

// Activate implements [Store].
func (a *Audited) Activate(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	return a.change(ctx, &Event{Action: ActivateKey, Organization: org, Kid: kid}, func() error { return a.keys.Activate(ctx, org, kid) })
}

// Deactivate implements [Store].
func (a *Audited) Deactivate(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	return a.change(ctx, &Event{Action: DeactivateKey, Organization: org, Kid: kid}, func() error { return a.keys.Deactivate(ctx, org, kid) })
}

// Revoke implements [Store].
func (a *Audited) Revoke(ctx context.Context, org identity.OrganizationSlug, kid, reason string) error {
	e := &Event{Action: RevokeKey, Organization: org, Kid: kid}
	if reason != "" {
		e.Metadata = map[string]string{"reason": reason}
	}
	return a.change(ctx, e, func() error { return a.keys.Revoke(ctx, org, kid, reason) })
}

// RevokeMany implements [Store].
func (a *Audited) RevokeMany(ctx context.Context, org identity.OrganizationSlug, revocations []Revocation) []error {
	return a.many(ctx, &Event{Action: BulkRevokeKeys, Organization: org}, len(revocations), func() []error { return a.keys.RevokeMany(ctx, org, revocations) })
}

// Rotate implements [Store].
func (a *Audited) Rotate(ctx context.Context, org identity.OrganizationSlug, old string, next PublicSigningKey, grace time.Duration) error {
	e := &Event{Action: RotateKey, Organization: org, Kid: old, Metadata: map[string]string{"old_kid": old, "new_kid": next.Kid, "grace": grace.String()}}
	return a.change(ctx, e, func() error { return a.keys.Rotate(ctx, org, old, next, grace) })
}

// Delete implements [Store].
func (a *Audited) Delete(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	return a.change(ctx, &Event{Action: DeleteKey, Organization: org, Kid: kid}, func() error { return a.keys.Delete(ctx, org, kid) })
}

// Get implements [Store].
func (a *Audited) Get(ctx context.Context, org identity.OrganizationSlug, kid string) (PublicSigningKey, error) {
	e := Event{Action: AccessKey, Organization: org, Kid: kid}
	if err := a.r.begin(ctx, &e); err != nil {
		return PublicSigningKey{}, err
	}
	k, err := a.keys.Get(ctx, org, kid)
	if bad := a.r.end(ctx, &e, err); bad != nil && err == nil {
		return PublicSigningKey{}, bad
	}
	return k, err
}

// GetMany implements [Store].
func (a *Audited) GetMany(ctx context.Context, org identity.OrganizationSlug, kids []string) ([]*PublicSigningKey, error) {
	e := Event{Action: AccessKeys, Organization: org, Metadata: map[string]string{"key_count": strconv.Itoa(len(kids))}}
	if err := a.r.begin(ctx, &e); err != nil {
		return nil, err
	}
	keys, err := a.keys.GetMany(ctx, org, kids)
	found := 0
	for _, k := range keys {
		if k != nil {
			found++
		}
	}
	e.Metadata = map[string]string{"key_count": strconv.Itoa(len(kids)), "found": strconv.Itoa(found)}
	if bad := a.r.end(ctx, &e, err); bad != nil && err == nil {
		return nil, bad
	}
	return keys, err
}

// List implements [Store]. Its outcome is recorded when it ends; keys are yielded before
// that.
func (a *Audited) List(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return a.list(ctx, org, "all", a.keys.List(ctx, org))
}

// ListActive implements [Store]; see List.
func (a *Audited) ListActive(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return a.list(ctx, org, "active", a.keys.ListActive(ctx, org))
}

func (a *Audited) list(ctx context.Context, org identity.OrganizationSlug, which string, keys iter.Seq2[PublicSigningKey, error]) iter.Seq2[PublicSigningKey, error] {
	return func(yield func(PublicSigningKey, error) bool) {
		e := Event{Action: AccessKeys, Organization: org, Metadata: map[string]string{"list": which}}
		if err := a.r.begin(ctx, &e); err != nil {
			yield(PublicSigningKey{}, err)
			return
		}
		n, failed := 0, error(nil)
		defer func() {
			e.Metadata = map[string]string{"list": which, "found": strconv.Itoa(n)}
			_ = a.r.end(ctx, &e, failed)
		}()
		for k, err := range keys {
			if err != nil {
				failed = err
			} else {
				n++
			}
			if !yield(k, err) {
				return
			}
		}
	}
}

var _, _ Store = (*Keys)(nil), (*Audited)(nil)
