package storagetest_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// models makes models with some of the capabilities.
func models(caps storage.Caps) storagetest.Factory {
	clock := storagetest.NewClock()
	return storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		info := storagetest.ModelInfo()
		info.Caps &= caps
		rand.Read(info.Incarnation[:])
		return storagetest.NewModel(clock.Now, info), nil
	}}
}

const everything = ^storage.Caps(0)

// The model keeps the contract, with each subset of abilities that makes sense.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		name string
		caps storage.Caps
	}{
		{"everything", everything},
		{"nothing", 0},
		{"atomic without versions", storage.CapAtomic | storage.CapCheckOnly | storage.CapTTL},
		{"versions and little else", storage.CapVersions | storage.CapAtomic | storage.CapCheckOnly},
	} {
		t.Run(c.name, func(t *testing.T) { storagetest.Run(t, models(c.caps)) })
	}
}
