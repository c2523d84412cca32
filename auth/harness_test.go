package auth_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

const org = identity.OrganizationSlug(7)

// start is when tests begin.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// now is a clock that tests move.
type now struct{ time.Time }

func (n *now) get() time.Time { return n.Time }

// backends are one that can everything, and one that judges only what it writes, and knows
// no versions.
func backends(clock *now) map[string]storage.Backend {
	info := storagetest.ModelInfo()
	info.Caps = storage.CapAtomic
	return map[string]storage.Backend{
		"memory": memory.New(memory.DefaultConfig(), sdk.Env{Now: clock.get}),
		"least":  storagetest.NewModel(clock.get, info),
	}
}

// onEach runs a test over keys on each backend.
func onEach(t *testing.T, test func(t *testing.T, keys *auth.Keys, store *storage.Store, clock *now)) {
	t.Helper()
	clock := &now{start}
	for name, b := range backends(clock) {
		t.Run(name, func(t *testing.T) {
			clock.Time = start
			store := storage.New(b, storage.Settings{Clock: clock.get})
			t.Cleanup(func() { store.Close(context.Background()) })
			test(t, auth.NewKeys(auth.OneStore(store), nil), store, clock)
		})
	}
}

// publicKey is a key of the curve, another for each seed.
func publicKey(seed byte) auth.PublicKey {
	var s [ed25519.SeedSize]byte
	s[0] = seed
	k, err := auth.NewPublicKey(ed25519.NewKeyFromSeed(s[:]).Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return k
}

// newKey is an active key of that kid.
func newKey(t *testing.T, kid string) auth.PublicSigningKey {
	t.Helper()
	k, err := auth.New(kid, publicKey(1), 11, 12, start)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// want fails the test unless err is what is wanted.
func want(t *testing.T, what string, err, wanted error) {
	t.Helper()
	if wanted == nil && err != nil || wanted != nil && !errors.Is(err, wanted) {
		t.Errorf("%s: %v, want %v", what, err, wanted)
	}
}

// kids are those of a list.
func kids(t *testing.T, list func(func(auth.PublicSigningKey, error) bool)) (all []string) {
	t.Helper()
	for k, err := range list {
		if err != nil {
			t.Errorf("list: %v", err)
		}
		all = append(all, k.Kid)
	}
	return all
}
