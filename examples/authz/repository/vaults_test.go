package repository

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// cut ends a context after some writes, as a deadline or a crash would.
type cut struct {
	storage.Backend
	left   int
	cancel context.CancelFunc
}

func (c *cut) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	v, err := c.Backend.Apply(ctx, w)
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return v, err
}

// A deletion that is cut short after any of its steps leaves a vault that refuses everything,
// and that another deletion removes for good.
func TestDeletionIsResumed(t *testing.T) {
	for steps := 1; ; steps++ {
		c := &cut{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
		store := storage.New(c, storage.Settings{})
		ids, err := identity.NewGenerator(identity.Options{})
		if err != nil {
			t.Fatal(err)
		}
		orgs, vaults, relationships := NewOrganizations(store, ids), NewVaults(store, ids), NewRelationships(store)
		org, err := orgs.Create(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		v, err := vaults.Create(t.Context(), org.Slug, "main")
		if err != nil {
			t.Fatal(err)
		}
		id := VaultID{org.Slug, v.Slug}
		for part := range 3 {
			var change Change
			for i := range MaxChange {
				r, err := ParseRelationship(fmt.Sprint("doc:", i), fmt.Sprint("viewer", part), "user:ada")
				if err != nil {
					t.Fatal(err)
				}
				change.Write = append(change.Write, r)
			}
			if _, err := relationships.Apply(t.Context(), id, change); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.left, c.cancel = steps, cancel
		err = vaults.Delete(ctx, id, v.Version)
		cancel()
		if err == nil {
			if steps < 5 { // it is closed, emptied in three steps, and removed
				t.Errorf("it was deleted in %d steps", steps-1)
			}
			return
		}
		if _, err := relationships.Apply(t.Context(), id, Change{Delete: []Relationship{{Object{"doc", "1"}, "viewer0", Subject{Object: Object{"user", "ada"}}}}}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after %d steps it takes changes: %v", steps, err)
		}
		if _, _, err := relationships.List(t.Context(), id, Filter{}, "", 1); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after %d steps it is read: %v", steps, err)
		}
		if v, err = vaults.Get(t.Context(), id); err == nil {
			err = vaults.Delete(t.Context(), id, v.Version)
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after %d steps it is not deleted: %v", steps, err)
		}
		for it := range store.Prefix(t.Context(), []byte(OrganizationPrefix(org.Slug)), storage.RangeOptions{}) {
			if string(it.Key) != string(organizationKey(org.Slug)) {
				t.Fatalf("after %d steps and a second deletion %s is left", steps, it.Key)
			}
		}
		store.Close(t.Context())
	}
}
