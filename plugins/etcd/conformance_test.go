//go:build unix

package etcd

import (
	"context"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// The whole kit, with restarts: of the backend, for the cluster is another's.
func TestConformance(t *testing.T) {
	if !alone(t) {
		return
	}
	c := forKit(t)
	clock := storagetest.NewClock()
	var prefix string
	start := func(ctx context.Context) (storage.Backend, error) { return Open(ctx, c.env(prefix, clock.Now)) }
	storagetest.Run(t, storagetest.Factory{
		Clock:  clock,
		Open:   func(ctx context.Context) (storage.Backend, error) { prefix = aPrefix(); return start(ctx) },
		Reopen: start,
	}, lateExpiries())
}

// lateExpiries is what no way to run the backend does as the kit wants it.
func lateExpiries() storagetest.Exception {
	return storagetest.Except("changes/expiry", "the cluster tells of an expiry when the lease ends: a quarter of the TTL and the grace later")
}
