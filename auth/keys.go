package auth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// Prefix begins the keys of an organization in its part of a store.
const Prefix = "signing-keys/"

// graves begins the keys of kids that were revoked and then deleted. They stay taken.
const graves = "revoked-signing-keys/"

// rotations begins the keys of marks beside keys that were rotated. The record of one that was
// rotated with a grace looks like that of one that was created with an end.
const rotations = "rotated-signing-keys/"

// Space returns the part of a store that belongs to an organization: the store, and the
// prefix of its keys there.
type Space func(identity.OrganizationSlug) (store *storage.Store, prefix string)

// OneStore returns a Space that keeps all organizations in one store, each below
// org/SLUG/. It panics if the store is nil.
func OneStore(s *storage.Store) Space {
	if s == nil {
		panic("auth: OneStore requires a store")
	}
	return func(org identity.OrganizationSlug) (*storage.Store, string) { return s, "org/" + org.String() + "/" }
}

// Store keeps signing keys: [Keys], and [Audited] over it.
//
// Every method names an organization, which has keys of its own: the same kid may name
// another key in another organization. Errors are storage's: NotFound for a kid without a
// key, AlreadyExists for one that is in use, InvalidArgument for invalid input, Conflict
// if another writer changed the key meanwhile, Serialization for an unreadable record,
// and [InvalidState].
type Store interface {
	// Create stores a new key. The kid of an existing or revoked key is AlreadyExists.
	Create(ctx context.Context, org identity.OrganizationSlug, key PublicSigningKey) error
	// CreateMany is Create of each, and returns an error, or nil, for each.
	CreateMany(ctx context.Context, org identity.OrganizationSlug, keys []PublicSigningKey) []error
	// Get returns the key of a kid, usable or not.
	Get(ctx context.Context, org identity.OrganizationSlug, kid string) (PublicSigningKey, error)
	// GetMany returns the key of each kid, in their order, or nil if there is none.
	GetMany(ctx context.Context, org identity.OrganizationSlug, kids []string) ([]*PublicSigningKey, error)
	// List yields all keys by their kids, usable or not. It reads them by pages.
	List(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error]
	// ListActive yields the keys of List that are usable now.
	ListActive(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error]
	// Activate switches a key on. A revoked key is [InvalidState].
	Activate(ctx context.Context, org identity.OrganizationSlug, kid string) error
	// Deactivate switches a key off, until Activate.
	Deactivate(ctx context.Context, org identity.OrganizationSlug, kid string) error
	// Revoke ends a key for good. It does not change a revoked key.
	Revoke(ctx context.Context, org identity.OrganizationSlug, kid, reason string) error
	// RevokeMany is Revoke of each, and returns an error, or nil, for each.
	RevokeMany(ctx context.Context, org identity.OrganizationSlug, revocations []Revocation) []error
	// Rotate revokes a key, or with a grace sets its end to then, and creates the next
	// one: both or neither. A key is rotated once: another rotation is a Conflict, whatever
	// its grace. A revoked key is [InvalidState], and one that ends before the grace does a
	// Conflict.
	Rotate(ctx context.Context, org identity.OrganizationSlug, old string, next PublicSigningKey, grace time.Duration) error
	// Delete removes a key. The kid of a revoked key stays in use.
	Delete(ctx context.Context, org identity.OrganizationSlug, kid string) error
}

// Revocation names a key to revoke, for RevokeMany.
type Revocation struct {
	Kid    string
	Reason string // optional
}

// rotated is the reason of a key that was revoked by a rotation.
const rotated = "key rotation"

// InvalidState rejects an operation that the state of a key does not allow, such as
// activating a revoked key. It is also a storage.Conflict, which repeating does not
// resolve.
const InvalidState stateError = "the key is revoked, which is final"

type stateError string

func (e stateError) Error() string        { return string(e) }
func (e stateError) Is(target error) bool { return target == e || target == storage.Conflict }

// As makes it a storage error where one is asked for.
func (e stateError) As(target any) bool {
	to, ok := target.(**storage.Error)
	if ok {
		*to = &storage.Error{Code: storage.Conflict, Msg: string(e)}
	}
	return ok
}

// Keys implements [Store] over a store of bytes. It is safe for concurrent use, also by
// several hosts: every change is one write set with conditions.
type Keys struct {
	space Space
	now   func() time.Time
}

// NewKeys returns a store that keeps keys in space. now is the clock that decides which
// keys are usable and dates revocations; if nil, that of the organization's store. It
// panics if space is nil.
func NewKeys(space Space, now func() time.Time) *Keys {
	if space == nil {
		panic("auth: NewKeys requires a space")
	}
	return &Keys{space, now}
}

// place gives access to the part of a store with the keys of an organization.
type place struct {
	*storage.Store
	org    identity.OrganizationSlug
	prefix string
	now    func() time.Time
}

func (s *Keys) of(org identity.OrganizationSlug) (p place, err error) {
	if org.IsZero() {
		return p, invalid("the organization is 0, which is none")
	}
	p.org = org
	p.Store, p.prefix = s.space(org)
	if p.now = s.now; p.now == nil {
		p.now = p.Store.Now
	}
	return p, nil
}

func (p place) key(kid string) []byte   { return []byte(p.prefix + Prefix + kid) }
func (p place) kid(key []byte) string   { return string(key[len(p.prefix)+len(Prefix):]) }
func (p place) grave(kid string) []byte { return []byte(p.prefix + graves + kid) }
func (p place) mark(kid string) []byte  { return []byte(p.prefix + rotations + kid) }

// read returns the key of a kid, and the bytes that it is stored as.
func (p place) read(ctx context.Context, kid string) (k PublicSigningKey, raw []byte, err error) {
	if err := checkKid(kid); err != nil {
		return k, nil, err
	}
	if raw, err = p.Store.Get(ctx, p.key(kid)); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			err = &storage.Error{Code: storage.NotFound, Msg: fmt.Sprintf("organization %s has no key %.40q", p.org, kid), Err: err}
		}
		return k, nil, err
	}
	k, err = p.parsed(kid, raw)
	return k, raw, err
}

// parsed returns the key of a record that stands at a kid.
func (p place) parsed(kid string, raw []byte) (PublicSigningKey, error) {
	k, err := parseRecord(raw)
	if err == nil && k.Kid != kid {
		err = invalid("its kid is %.40q", k.Kid)
	}
	if err != nil {
		return PublicSigningKey{}, unreadable(kid, err)
	}
	return k, nil
}

// fresh returns the conditions and the ops that create a key. The grave is named by an op that
// changes nothing: backends without check_only judge only what is written. A mark is there if
// a client of InferaDB's library, which knows none, has deleted a key of that kid.
func (p place) fresh(k *PublicSigningKey) (checks []storage.Check, ops []storage.Op) {
	key, grave := p.key(k.Kid), p.grave(k.Kid)
	return []storage.Check{storage.Absent(key), storage.Absent(grave)}, []storage.Op{storage.Put(key, k.record()), storage.Delete(grave), storage.Delete(p.mark(k.Kid))}
}

// Create implements [Store].
func (s *Keys) Create(ctx context.Context, org identity.OrganizationSlug, key PublicSigningKey) error {
	p, err := s.of(org)
	if err != nil {
		return err
	}
	if err := key.Validate(); err != nil {
		return err
	}
	checks, ops := p.fresh(&key)
	return taken(key.Kid, p.apply(ctx, checks, ops))
}

func (p place) apply(ctx context.Context, checks []storage.Check, ops []storage.Op) error {
	_, err := p.Apply(ctx, &storage.WriteSet{Checks: checks, Ops: ops})
	return err
}

// taken has a failed creation say so.
func taken(kid string, err error) error {
	if errors.Is(err, storage.ErrConflict) && !storage.Unknown(err) {
		return storage.Errorf(storage.AlreadyExists, "the kid %.40q is in use by a key, or was by a revoked one", kid)
	}
	return err
}

// CreateMany implements [Store].
func (s *Keys) CreateMany(ctx context.Context, org identity.OrganizationSlug, keys []PublicSigningKey) []error {
	errs := make([]error, len(keys))
	for i, k := range keys {
		errs[i] = s.Create(ctx, org, k)
	}
	return errs
}

// Get implements [Store].
func (s *Keys) Get(ctx context.Context, org identity.OrganizationSlug, kid string) (PublicSigningKey, error) {
	p, err := s.of(org)
	if err != nil {
		return PublicSigningKey{}, err
	}
	k, _, err := p.read(ctx, kid)
	return k, err
}

// GetMany implements [Store].
func (s *Keys) GetMany(ctx context.Context, org identity.OrganizationSlug, kids []string) ([]*PublicSigningKey, error) {
	p, err := s.of(org)
	if err != nil {
		return nil, err
	}
	for _, kid := range kids {
		if err := checkKid(kid); err != nil {
			return nil, err
		}
	}
	found := make(map[string]*PublicSigningKey, len(kids))
	for part := range slices.Chunk(kids, pageKeys) {
		if err := p.find(ctx, part, found); err != nil {
			return nil, err
		}
	}
	all := make([]*PublicSigningKey, len(kids))
	for i, kid := range kids {
		all[i] = found[kid]
	}
	return all, nil
}

// find reads keys into found.
func (p place) find(ctx context.Context, kids []string, found map[string]*PublicSigningKey) error {
	keys := make([][]byte, len(kids))
	for i, kid := range kids {
		keys[i] = p.key(kid)
	}
	items, err := p.Store.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	for _, it := range items {
		k, err := p.parsed(p.kid(it.Key), it.Value)
		if err != nil {
			return err
		}
		found[k.Kid] = &k
	}
	return nil
}

// pageKeys is how many keys a list reads at once.
const pageKeys = 256

// List implements [Store]. An unreadable record is an error in its place, after which the
// list continues.
func (s *Keys) List(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return func(yield func(PublicSigningKey, error) bool) {
		p, err := s.of(org)
		if err != nil {
			yield(PublicSigningKey{}, err)
			return
		}
		for it, err := range p.Store.Prefix(ctx, p.key(""), storage.RangeOptions{PageItems: pageKeys}) {
			if err != nil {
				yield(PublicSigningKey{}, err)
				return
			}
			if !yield(p.parsed(p.kid(it.Key), it.Value)) {
				return
			}
		}
	}
}

// ListActive implements [Store].
func (s *Keys) ListActive(ctx context.Context, org identity.OrganizationSlug) iter.Seq2[PublicSigningKey, error] {
	return func(yield func(PublicSigningKey, error) bool) {
		p, _ := s.of(org) // List says what is wrong
		for k, err := range s.List(ctx, org) {
			if (err != nil || k.Usable(p.now())) && !yield(k, err) {
				return
			}
		}
	}
}
