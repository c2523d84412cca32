package repository

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// The states of organizations and vaults.
const (
	Active    = "active"
	Suspended = "suspended" // an organization: neither its engine nor its administration works
	Deleting  = "deleting"  // a vault: its relationships are being removed
)

// Organization has vaults and keys of its own.
type Organization struct {
	Slug      identity.OrganizationSlug `json:"slug"`
	Name      string                    `json:"name"` // unique
	State     string                    `json:"state"`
	CreatedAt time.Time                 `json:"created_at"`
	Version   uint64                    `json:"-"` // of the record; it changes with every change
}

// Organizations stores organizations. It is safe for concurrent use.
type Organizations struct {
	store *storage.Store
	ids   *identity.Generator
}

// NewOrganizations keeps organizations in a store that [CheckStore] accepts.
func NewOrganizations(store *storage.Store, ids *identity.Generator) *Organizations {
	return &Organizations{store, ids}
}

// Create adds an organization. A name that is taken is AlreadyExists.
func (o *Organizations) Create(ctx context.Context, name string) (org Organization, err error) {
	if err := checkName(name); err != nil {
		return org, err
	}
	slug, err := identity.Generate[identity.OrganizationSlug](o.ids)
	if err != nil {
		return org, err
	}
	org = Organization{Slug: slug, Name: name, State: Active, CreatedAt: o.store.Now().UTC()}
	org.Version, err = decide(ctx, o.store, func(tx *storage.Txn) error {
		if err := claim(ctx, tx, organizationNameKey(name), slug.String()); err != nil {
			return err
		}
		return storage.SetJSON(ctx, tx, organizationKey(slug), org)
	})
	return org, err
}

// Get returns an organization, or NotFound.
func (o *Organizations) Get(ctx context.Context, slug identity.OrganizationSlug) (Organization, error) {
	return loadOrganization(ctx, o.store, slug)
}

func loadOrganization(ctx context.Context, kv storage.KV, slug identity.OrganizationSlug) (org Organization, err error) {
	org, version, err := load[Organization](ctx, kv, organizationKey(slug))
	org.Version = version
	return org, err
}

// active returns an organization for a change below it: if its state changes before the
// commit, the transaction is run again.
func active(ctx context.Context, tx *storage.Txn, slug identity.OrganizationSlug) error {
	org, err := loadOrganization(ctx, tx, slug)
	if err == nil && org.State != Active {
		err = ErrSuspended
	}
	return err
}

// List returns organizations by name, at most limit of those after a name, and the name to
// go on after. It may miss one that is created or renamed meanwhile.
func (o *Organizations) List(ctx context.Context, after string, limit int) (orgs []Organization, next string, err error) {
	next, err = page(ctx, o.store, organizationNames, after, limit, func(_, value []byte) error {
		slug, err := identity.Parse[identity.OrganizationSlug](string(value))
		if err != nil {
			return corrupt("an organization's name")
		}
		org, err := o.Get(ctx, slug)
		if errors.Is(err, storage.ErrNotFound) { // deleted since the page was read
			return nil
		}
		orgs = append(orgs, org)
		return err
	})
	return orgs, next, err
}

// Update changes the organization of that version to a name and state: [ErrStale] if it has
// another version, AlreadyExists if the name is taken.
func (o *Organizations) Update(ctx context.Context, slug identity.OrganizationSlug, version uint64, name, state string) (org Organization, err error) {
	if state != Active && state != Suspended {
		return org, invalid("state %.40q: must be %s or %s", state, Active, Suspended)
	}
	if err := checkName(name); err != nil {
		return org, err
	}
	landed, err := decide(ctx, o.store, func(tx *storage.Txn) (err error) {
		if org, err = o.at(ctx, tx, slug, version); err != nil {
			return err
		}
		if err := rename(ctx, tx, organizationNameKey(org.Name), organizationNameKey(name), slug.String()); err != nil {
			return err
		}
		org.Name, org.State = name, state
		return storage.SetJSON(ctx, tx, organizationKey(slug), org)
	})
	org.Version = landed
	return org, err
}

// at reads an organization, which must have the given version.
func (o *Organizations) at(ctx context.Context, tx *storage.Txn, slug identity.OrganizationSlug, version uint64) (Organization, error) {
	org, err := loadOrganization(ctx, tx, slug)
	if err == nil && org.Version != version {
		err = ErrStale
	}
	return org, err
}

// Delete removes the organization of that version with its keys: [ErrStale] if it has
// another version, [ErrNotEmpty] if it has vaults.
func (o *Organizations) Delete(ctx context.Context, slug identity.OrganizationSlug, version uint64) error {
	_, err := decide(ctx, o.store, func(tx *storage.Txn) error {
		org, err := o.at(ctx, tx, slug, version)
		if err != nil {
			return err
		}
		for _, err := range tx.Prefix(ctx, []byte(vaultsPrefix(slug)), storage.RangeOptions{Limit: 1, PageItems: 1, KeysOnly: true}) {
			if err == nil {
				err = ErrNotEmpty
			}
			return err
		}
		all := []byte(OrganizationPrefix(slug))
		_, err = tx.ClearRange(ctx, all, storage.PrefixEnd(all))
		return errors.Join(err, tx.Delete(ctx, organizationNameKey(org.Name)))
	})
	return err
}
