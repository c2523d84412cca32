package repository

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// MaxVaults limits the vaults of an organization.
const MaxVaults = 100

// Vault holds relationships, apart from those of other vaults.
type Vault struct {
	Slug      identity.VaultSlug `json:"slug"`
	Name      string             `json:"name"` // unique in its organization
	State     string             `json:"state"`
	CreatedAt time.Time          `json:"created_at"`
	Version   uint64             `json:"-"` // of the record; it changes with every change of it
}

// Vaults stores vaults. It is safe for concurrent use.
type Vaults struct {
	store *storage.Store
	ids   *identity.Generator
}

// NewVaults keeps vaults in a store that [CheckStore] accepts.
func NewVaults(store *storage.Store, ids *identity.Generator) *Vaults { return &Vaults{store, ids} }

// Create adds a vault. A name that is taken is AlreadyExists, one vault more than
// [MaxVaults] is [ErrQuota].
func (v *Vaults) Create(ctx context.Context, org identity.OrganizationSlug, name string) (vault Vault, err error) {
	if err := checkName(name); err != nil {
		return vault, err
	}
	slug, err := identity.Generate[identity.VaultSlug](v.ids)
	if err != nil {
		return vault, err
	}
	id := VaultID{org, slug}
	vault = Vault{Slug: slug, Name: name, State: Active, CreatedAt: v.store.Now().UTC()}
	vault.Version, err = decide(ctx, v.store, func(tx *storage.Txn) error {
		if err := active(ctx, tx, org); err != nil {
			return err
		}
		if err := room(ctx, tx, org); err != nil {
			return err
		}
		if err := claim(ctx, tx, id.nameKey(name), slug.String()); err != nil {
			return err
		}
		return storage.SetJSON(ctx, tx, id.key(), vault)
	})
	return vault, err
}

// room reports whether one more vault may be created. The range becomes a condition of the
// commit, so that creations at once do not exceed the quota together.
func room(ctx context.Context, tx *storage.Txn, org identity.OrganizationSlug) error {
	n := 0
	for _, err := range tx.Prefix(ctx, []byte(vaultsPrefix(org)), storage.RangeOptions{Limit: MaxVaults, KeysOnly: true}) {
		if err != nil {
			return err
		}
		n++
	}
	if n >= MaxVaults {
		return ErrQuota
	}
	return nil
}

// Get returns a vault, or NotFound.
func (v *Vaults) Get(ctx context.Context, id VaultID) (Vault, error) {
	return loadVault(ctx, v.store, id)
}

func loadVault(ctx context.Context, kv storage.KV, id VaultID) (vault Vault, err error) {
	vault, version, err := load[Vault](ctx, kv, id.key())
	vault.Version = version
	return vault, err
}

// List returns vaults by slug, which is by age, at most limit of those after a slug, and the
// slug to go on after.
func (v *Vaults) List(ctx context.Context, org identity.OrganizationSlug, after string, limit int) (vaults []Vault, next string, err error) {
	next, err = page(ctx, v.store, vaultsPrefix(org), after, limit, func(_, value []byte) error {
		vault, err := storage.DecodeJSON[Vault](value)
		vaults = append(vaults, vault)
		return err
	})
	return vaults, next, err
}

// Rename changes the name of the vault of that version: [ErrStale] if it has another
// version, AlreadyExists if the name is taken.
func (v *Vaults) Rename(ctx context.Context, id VaultID, version uint64, name string) (vault Vault, err error) {
	if err := checkName(name); err != nil {
		return vault, err
	}
	landed, err := decide(ctx, v.store, func(tx *storage.Txn) (err error) {
		if err := active(ctx, tx, id.Org); err != nil {
			return err
		}
		if vault, err = loadVault(ctx, tx, id); err != nil {
			return err
		}
		if vault.Version != version || vault.State != Active {
			return ErrStale
		}
		if err := rename(ctx, tx, id.nameKey(vault.Name), id.nameKey(name), id.Vault.String()); err != nil {
			return err
		}
		vault.Name = name
		return storage.SetJSON(ctx, tx, id.key(), vault)
	})
	vault.Version = landed
	return vault, err
}

// purgeKeys is how many keys one step of a purge removes.
const purgeKeys = 1000

// Delete removes the vault of that version, or [ErrStale], with its relationships. These are
// removed in steps, which a vault of any size allows: from the first one on, the vault is
// Deleting, and refuses checks and changes. A deletion that was cut short is resumed by
// another one.
func (v *Vaults) Delete(ctx context.Context, id VaultID, version uint64) error {
	if err := v.close(ctx, id, version); err != nil {
		return err
	}
	if err := v.purge(ctx, id); err != nil {
		return err
	}
	return v.store.Update(ctx, func(tx *storage.Txn) error {
		vault, err := loadVault(ctx, tx, id)
		if errors.Is(err, storage.ErrNotFound) { // another deletion was faster
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(tx.Delete(ctx, id.key()), tx.Delete(ctx, id.nameKey(vault.Name)))
	})
}

// close marks a vault as Deleting. Changes of relationships are conditional on its record:
// none lands after this.
func (v *Vaults) close(ctx context.Context, id VaultID, version uint64) error {
	_, err := decide(ctx, v.store, func(tx *storage.Txn) error {
		if err := active(ctx, tx, id.Org); err != nil {
			return err
		}
		vault, err := loadVault(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case vault.Version != version:
			return ErrStale
		case vault.State == Deleting:
			return nil
		}
		vault.State = Deleting
		return storage.SetJSON(ctx, tx, id.key(), vault)
	})
	return err
}

func (v *Vaults) purge(ctx context.Context, id VaultID) error {
	prefix := []byte(id.relationships())
	for {
		var last []byte
		for it, err := range v.store.Prefix(ctx, prefix, storage.RangeOptions{Limit: purgeKeys, PageItems: purgeKeys, KeysOnly: true}) {
			if err != nil {
				return err
			}
			last = it.Key
		}
		if last == nil {
			return nil
		}
		if _, err := v.store.ClearRange(ctx, prefix, storage.After(last)); err != nil {
			return err
		}
	}
}
