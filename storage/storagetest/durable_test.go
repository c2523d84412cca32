package storagetest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// disk is a model that outlives its backends: what is durable, in small.
type disk struct{ model *storagetest.Model }

// handle is one backend over a disk, until it is closed or crashes.
func (d *disk) handle() storage.Backend {
	var closed atomic.Bool
	return &planted{
		Backend: d.model,
		get: func(ctx context.Context, key []byte) (storage.Item, error) {
			if closed.Load() {
				return storage.Item{}, storage.ErrShuttingDown
			}
			return d.model.Get(ctx, key)
		},
		getMany: func(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
			if closed.Load() {
				return nil, storage.ErrShuttingDown
			}
			return d.model.GetMany(ctx, keys)
		},
		scan: func(ctx context.Context, q storage.Query) (storage.Page, error) {
			if closed.Load() {
				return storage.Page{}, storage.ErrShuttingDown
			}
			return d.model.Scan(ctx, q)
		},
		apply: func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			if closed.Load() {
				return 0, storage.ErrShuttingDown
			}
			return d.model.Apply(ctx, w)
		},
		health: func(ctx context.Context, p storage.Probe) (storage.Health, error) {
			if closed.Load() {
				return storage.Health{}, storage.ErrShuttingDown
			}
			return d.model.Health(ctx, p)
		},
		close: func(context.Context) error { closed.Store(true); return nil },
	}
}

// durable makes disks; crash is what the crash of one does to it.
func durable(crash func(*storagetest.Model)) storagetest.Factory {
	clock := storagetest.NewClock()
	var last *disk
	var current storage.Backend
	again := func(context.Context) (storage.Backend, error) {
		current = last.handle()
		return current, nil
	}
	return storagetest.Factory{Clock: clock, Reopen: again,
		Open: func(ctx context.Context) (storage.Backend, error) {
			info := storagetest.ModelInfo()
			info.Caps |= storage.CapDurable
			info.Incarnation = [16]byte{1}
			last = &disk{model: storagetest.NewModel(clock.Now, info)}
			return again(ctx)
		},
		Crash: func(ctx context.Context) (storage.Backend, error) {
			current.Close(ctx) // it writes no more
			crash(last.model)
			return again(ctx)
		}}
}

func TestDurable(t *testing.T) {
	storagetest.Run(t, durable(func(*storagetest.Model) {}))
}

// A crash that takes the last acknowledged writes along, and one that leaves
// half of a write set.
func TestPlantedCrashes(t *testing.T) {
	for name, crash := range map[string]func(*storagetest.Model){
		"all is lost": func(m *storagetest.Model) {
			m.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}})
		},
		"half is left": func(m *storagetest.Model) {
			m.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("b1"))}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := storagetest.RunOne(t.Context(), durable(crash), "restart/acknowledged_writes_survive_a_crash")
			if r.Outcome != storagetest.Failed {
				t.Errorf("%s %s", r.Outcome, r.Text)
			}
		})
	}
}
