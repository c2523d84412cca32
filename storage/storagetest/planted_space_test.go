package storagetest_test

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// roomy is a model with room for so many bytes of keys and values.
type roomy struct {
	*planted
	clock *storagetest.Clock
	mu    sync.Mutex
	room  int

	used    int // what a fault does not give back
	leaks   func(o storage.Op) bool
	refusal error                                                        // in the place of NoSpace
	first   func(b storage.Backend, w *storage.WriteSet) (uint64, error) // runs before the space is looked at
}

func (r *roomy) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.planted.Backend
	if r.first != nil {
		if v, err := r.first(b, w); err != nil {
			return v, err
		}
	} else if _, err := b.Apply(ctx, &storage.WriteSet{Checks: w.Checks}); err != nil {
		return 0, err
	}
	if !r.fits(b, w) {
		if r.refusal != nil {
			return 0, r.refusal
		}
		return 0, storage.ErrNoSpace
	}
	return b.Apply(ctx, w)
}

// fits reports whether there is room for the puts of w next to what is stored.
func (r *roomy) fits(b storage.Backend, w *storage.WriteSet) bool {
	size, puts := r.used, 0
	page, _ := b.Scan(context.Background(), storage.Query{})
	for _, it := range page.Items {
		size += len(it.Key) + len(it.Value)
	}
	for _, o := range w.Ops {
		if o.Kind == storage.OpPut {
			puts++
			size += len(o.Key) + len(o.Value)
			if it, err := b.Get(context.Background(), o.Key); err == nil {
				size -= len(o.Key) + len(it.Value)
			}
		}
	}
	if puts > 0 && size > r.room {
		return false
	}
	for _, o := range w.Ops {
		if r.leaks != nil && r.leaks(o) {
			r.used += r.left(b, o)
		}
	}
	return true
}

// left is what o does away with.
func (r *roomy) left(b storage.Backend, o storage.Op) (n int) {
	end := o.End
	if o.Kind != storage.OpDeleteRange {
		end = storage.After(o.Key)
	}
	page, _ := b.Scan(context.Background(), storage.Query{Start: o.Key, End: end})
	for _, it := range page.Items {
		n += len(it.Value)
	}
	return n
}

func smallModels(plant func(*roomy)) storagetest.Factory {
	clock := storagetest.NewClock()
	open := func(room int) func(context.Context) (storage.Backend, error) {
		return func(context.Context) (storage.Backend, error) {
			info := storagetest.ModelInfo()
			info.Limits.WriteBytes, info.Limits.Ops = 4<<20, 2000
			rand.Read(info.Incarnation[:])
			r := &roomy{planted: &planted{Backend: storagetest.NewModel(clock.Now, info)}, clock: clock, room: room}
			if room < 1<<30 {
				plant(r)
			}
			return r, nil
		}
	}
	return storagetest.Factory{Clock: clock, Open: open(1 << 30), Full: open(1 << 20)}
}

// What a full backend may not do, and the checks that have to see it.
func TestPlantedFaultsOfSpace(t *testing.T) {
	for _, f := range []struct {
		name   string
		caught []string
		plant  func(*roomy)
	}{
		{"half a write set stays", []string{"nothing_of_a_refused_write_set_stays"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				for _, o := range w.Ops {
					if len(w.Ops) > 1 && len(o.Value) < 100 {
						b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{o}})
					}
				}
				return 0, nil
			}
		}},
		{"deletes of a refused write set stay", []string{"nothing_of_a_refused_write_set_stays"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				if len(w.Ops) > 1 {
					b.Apply(context.Background(), &storage.WriteSet{Ops: w.Ops[1:2]})
				}
				return 0, nil
			}
		}},
		{"a refused write set takes a version", []string{"nothing_of_a_refused_write_set_stays"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				if len(w.Ops) > 1 {
					k := []byte("\x00")
					b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put(k, nil), storage.Delete(k)}})
				}
				return 0, nil
			}
		}},
		{"what is replaced never gives its space back", []string{"replaced_items_give_it_back"}, func(r *roomy) {
			r.leaks = func(o storage.Op) bool { return o.Kind == storage.OpPut }
		}},
		{"what is deleted never gives its space back", []string{"deleted_items_give_it_back"}, func(r *roomy) {
			r.leaks = func(o storage.Op) bool { return o.Kind == storage.OpDelete }
		}},
		{"what has expired never gives its space back", []string{"expired_items_give_it_back"}, func(r *roomy) {
			start := r.clock.Now()
			before := r.planted.Backend
			forever := storagetest.NewModel(func() time.Time { return start }, before.Info())
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				all, _ := forever.Scan(context.Background(), storage.Query{})
				live, _ := b.Scan(context.Background(), storage.Query{})
				r.used = (len(all.Items) - len(live.Items)) * 64 << 10
				if r.fits(b, w) {
					forever.Apply(context.Background(), &storage.WriteSet{Ops: w.Ops})
				}
				return 0, nil
			}
		}},
		{"deletes are refused", []string{"reads_and_deletes_go_on", "deleted_items_give_it_back"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				if !r.fits(b, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), make([]byte, 64<<10))}}) {
					return 0, storage.ErrNoSpace
				}
				return 0, nil
			}
		}},
		{"no space before a conflict", []string{"a_conflict_comes_before_it"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				if !r.fits(b, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("another"), make([]byte, 64<<10))}}) && len(w.Checks) > 0 {
					return 0, storage.ErrNoSpace
				}
				return b.Apply(context.Background(), &storage.WriteSet{Checks: w.Checks})
			}
		}},
		{"a refusal that is remembered", []string{"a_refusal_is_not_remembered"}, func(r *roomy) {
			r.first = func(b storage.Backend, w *storage.WriteSet) (uint64, error) {
				if w.ID != [16]byte{} && !r.fits(b, w) {
					r.refusal = storage.ErrNoSpace
					r.room = 0
				}
				return 0, nil
			}
		}},
		{"no space is unavailable", []string{"reads_and_deletes_go_on"}, func(r *roomy) { r.refusal = storage.ErrUnavailable }},
		{"no space is of unknown outcome", []string{"reads_and_deletes_go_on"}, func(r *roomy) {
			r.refusal = &storage.Error{Code: storage.NoSpace, Unknown: true}
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			for _, name := range f.caught {
				r := storagetest.RunOne(t.Context(), smallModels(f.plant), "space/"+name)
				if r.Outcome != storagetest.Failed {
					t.Errorf("%s does not see it: %s %s", name, r.Outcome, r.Text)
				} else {
					t.Logf("%s: %s", name, r.Text)
				}
			}
		})
	}
}

// A model with an end to its space passes.
func TestSpaceOfAModel(t *testing.T) {
	for _, c := range storagetest.Checks() {
		if c.Category != "space" {
			continue
		}
		if r := storagetest.RunOne(t.Context(), smallModels(func(*roomy) {}), "space/"+c.Name); r.Outcome != storagetest.Passed {
			t.Errorf("%s: %s %s", c.Name, r.Outcome, r.Text)
		}
	}
}
