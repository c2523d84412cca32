package auth

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// change reads a key, lets fn change it, and stores it if the stored key has not changed
// meanwhile. If it has, change starts again, a few times. fn returns false if there is
// nothing to store.
func (s *Keys) change(ctx context.Context, org identity.OrganizationSlug, kid string, fn func(k *PublicSigningKey, now time.Time) (bool, error)) error {
	p, err := s.of(org)
	if err != nil {
		return err
	}
	_, err = storage.RetryOnConflict(ctx, storage.DefaultBackoff(), func(ctx context.Context) (none struct{}, err error) {
		k, raw, err := p.read(ctx, kid)
		if err != nil {
			return none, err
		}
		if store, err := fn(&k, p.now().UTC()); err != nil || !store {
			return none, err
		}
		key := p.key(kid)
		return none, p.apply(ctx, []storage.Check{storage.HasValue(key, raw)}, []storage.Op{storage.Put(key, k.record())})
	})
	return err
}

// Activate implements [Store].
func (s *Keys) Activate(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	var state error // apart from conflicts, which are tried again
	err := s.change(ctx, org, kid, func(k *PublicSigningKey, _ time.Time) (bool, error) {
		if !k.RevokedAt.IsZero() {
			state = InvalidState
			return false, nil
		}
		was := k.Active
		k.Active = true
		return !was, nil
	})
	if err == nil {
		err = state
	}
	return err
}

// Deactivate implements [Store].
func (s *Keys) Deactivate(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	return s.change(ctx, org, kid, func(k *PublicSigningKey, _ time.Time) (bool, error) {
		was := k.Active
		k.Active = false
		return was, nil
	})
}

// Revoke implements [Store].
func (s *Keys) Revoke(ctx context.Context, org identity.OrganizationSlug, kid, reason string) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	return s.change(ctx, org, kid, func(k *PublicSigningKey, now time.Time) (bool, error) { return k.revoke(now, reason), nil })
}

// revoke revokes the key, and reports whether it was not revoked before.
func (k *PublicSigningKey) revoke(now time.Time, reason string) bool {
	if !k.RevokedAt.IsZero() {
		return false
	}
	k.Active, k.RevokedAt, k.RevocationReason = false, now, reason
	return true
}

// RevokeMany implements [Store].
func (s *Keys) RevokeMany(ctx context.Context, org identity.OrganizationSlug, revocations []Revocation) []error {
	errs := make([]error, len(revocations))
	for i, r := range revocations {
		errs[i] = s.Revoke(ctx, org, r.Kid, r.Reason)
	}
	return errs
}

// maxGrace limits the grace of a rotation.
const maxGrace = 366 * 24 * time.Hour

// Rotate implements [Store]. If the old key was changed meanwhile, even by another
// rotation, it is a Conflict and nothing is done: the caller decides again. So it is if the
// old key was rotated before or ends before the grace does.
func (s *Keys) Rotate(ctx context.Context, org identity.OrganizationSlug, old string, next PublicSigningKey, grace time.Duration) error {
	p, err := s.of(org)
	if err != nil {
		return err
	}
	if err := next.Validate(); err != nil {
		return err
	}
	if grace < 0 || grace > maxGrace {
		return invalid("the grace is %s, it must be from 0 to %s", grace, maxGrace)
	}
	k, raw, err := p.read(ctx, old)
	if err != nil {
		return err
	}
	if next.Kid == old {
		return storage.Errorf(storage.AlreadyExists, "the next key has the kid %.40q of the old one", old)
	}
	if !k.RevokedAt.IsZero() {
		return InvalidState
	}
	// The write judges the mark again; it is read for an error that says so.
	switch _, err := p.Store.Get(ctx, p.mark(old)); {
	case err == nil:
		return rotatedBefore(old)
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	now := p.now().UTC()
	if !k.end(now, grace) {
		return storage.Errorf(storage.Conflict, "the key %.40q ends at %s, before the grace does; add the next key instead", old, k.ValidUntil.Format(time.RFC3339))
	}
	checks, ops := p.fresh(&next)
	key, mark := p.key(old), p.mark(old)
	err = p.apply(ctx, append(checks, storage.HasValue(key, raw), storage.Absent(mark)),
		append(ops, storage.Put(key, k.record()), storage.Put(mark, successor(&next, now))))
	if e := storage.AsError(err); e != nil && e.Code == storage.Conflict {
		switch at := e.FailedCheck(); {
		case at >= 0 && at < len(checks):
			return taken(next.Kid, err)
		case at == len(checks)+1:
			return rotatedBefore(old)
		}
	}
	return err
}

// rotatedBefore returns the error of a second rotation.
func rotatedBefore(kid string) error {
	return storage.Errorf(storage.Conflict, "the key %.40q was rotated before: a key is rotated once; revoke it to end its grace", kid)
}

// successor returns the value of a mark.
func successor(next *PublicSigningKey, now time.Time) []byte {
	kid, _ := jsontext.AppendQuote(nil, next.Kid) // Validate has seen to it that it is text
	return []byte(`{"rotated_at":` + strconv.Quote(timeText(now)) + `,"next":` + string(kid) + `}`)
}

// end revokes the key, or has it end after a grace. A key that would begin only after the
// grace is revoked. It returns false if the key ends before by itself.
func (k *PublicSigningKey) end(now time.Time, grace time.Duration) bool {
	until := now.Add(grace)
	switch {
	case grace == 0 || until.Before(k.ValidFrom):
		return k.revoke(now, rotated)
	case k.ValidUntil.IsZero() || !until.After(k.ValidUntil):
		k.ValidUntil = until
		return true
	}
	return false
}

// Delete implements [Store]. It treats an unreadable record as revoked.
func (s *Keys) Delete(ctx context.Context, org identity.OrganizationSlug, kid string) error {
	p, err := s.of(org)
	if err != nil {
		return err
	}
	_, err = storage.RetryOnConflict(ctx, storage.DefaultBackoff(), func(ctx context.Context) (none struct{}, err error) {
		k, raw, err := p.read(ctx, kid)
		unreadable := errors.Is(err, storage.ErrSerialization) && raw != nil
		if err != nil && !unreadable {
			return none, err
		}
		ops := []storage.Op{storage.Delete(p.key(kid)), storage.Delete(p.mark(kid))}
		if unreadable || !k.RevokedAt.IsZero() {
			ops = append(ops, storage.Put(p.grave(kid), p.epitaph()))
		}
		return none, p.apply(ctx, []storage.Check{storage.HasValue(p.key(kid), raw)}, ops)
	})
	return err
}

// epitaph returns the value of a grave.
func (p place) epitaph() []byte {
	return []byte(`{"deleted_at":` + strconv.Quote(timeText(p.now())) + `}`)
}
