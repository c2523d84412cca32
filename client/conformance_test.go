package client_test

import (
	"context"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// A store that is served keeps the contract.
func TestConformance(t *testing.T) {
	clock := storagetest.NewClock()
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
		return stack(ctx, clock, nil)
	}})
}
