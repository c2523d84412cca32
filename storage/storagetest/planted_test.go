package storagetest_test

import (
	"context"
	"crypto/rand"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// rapid writes files about what fails, and here much is meant to.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("rapid.nofailfile", "true")
	os.Exit(m.Run())
}

// planted is a backend that does what the model does, but for what is put in its
// place.
type planted struct {
	storage.Backend
	get     func(context.Context, []byte) (storage.Item, error)
	getMany func(context.Context, [][]byte) ([]storage.Item, error)
	scan    func(context.Context, storage.Query) (storage.Page, error)
	apply   func(context.Context, *storage.WriteSet) (uint64, error)
	changes func(context.Context, storage.ChangeQuery) (storage.ChangePage, error)
	health  func(context.Context, storage.Probe) (storage.Health, error)
	info    func() storage.Info
	close   func(context.Context) error
}

func (p *planted) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if p.get != nil {
		return p.get(ctx, key)
	}
	return p.Backend.Get(ctx, key)
}

func (p *planted) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	if p.getMany != nil {
		return p.getMany(ctx, keys)
	}
	return p.Backend.GetMany(ctx, keys)
}

func (p *planted) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if p.scan != nil {
		return p.scan(ctx, q)
	}
	return p.Backend.Scan(ctx, q)
}

func (p *planted) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if p.apply != nil {
		return p.apply(ctx, w)
	}
	return p.Backend.Apply(ctx, w)
}

func (p *planted) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if p.changes != nil {
		return p.changes(ctx, q)
	}
	return p.Backend.Changes(ctx, q)
}

func (p *planted) Health(ctx context.Context, probe storage.Probe) (storage.Health, error) {
	if p.health != nil {
		return p.health(ctx, probe)
	}
	return p.Backend.Health(ctx, probe)
}

func (p *planted) Info() storage.Info {
	if p.info != nil {
		return p.info()
	}
	return p.Backend.Info()
}

func (p *planted) Close(ctx context.Context) error {
	if p.close != nil {
		return p.close(ctx)
	}
	return p.Backend.Close(ctx)
}

// fault is one way to break the contract, and the checks that have to see it.
type fault struct {
	name   string
	caught []string
	// plant breaks p, which is over a model with a clock.
	plant func(p *planted, clock *storagetest.Clock)
}

// Each fault must be caught by each of the checks named: the kit is worth what
// it finds.
func TestPlantedFaults(t *testing.T) {
	for _, f := range slices.Concat(readFaults, writeFaults, scanFaults, otherFaults, changeFaults, authorFaults) {
		t.Run(f.name, func(t *testing.T) {
			for _, name := range f.caught {
				clock := storagetest.NewClock()
				factory := storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
					info := storagetest.ModelInfo()
					rand.Read(info.Incarnation[:])
					p := &planted{Backend: storagetest.NewModel(clock.Now, info)}
					f.plant(p, clock)
					return p, nil
				}}
				r := storagetest.RunOne(t.Context(), factory, name)
				if r.Outcome != storagetest.Failed {
					t.Errorf("%s does not see it: %s %s", name, r.Outcome, r.Text)
				} else {
					t.Logf("%s: %s", name, r.Text)
				}
			}
		})
	}
}
