package guest

import (
	"context"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// putter takes puts at keys other than "no", and counts what it is asked.
type putter struct {
	*memory.Backend
	puts, applies int
}

func (p *putter) Put(key, value []byte) (uint64, bool) {
	p.puts++
	if string(key) == "no" {
		return 0, false
	}
	return p.Backend.Put(key, value)
}

func (p *putter) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	p.applies++
	return p.Backend.Apply(ctx, w)
}

// A usual put goes to a putter, and to Apply if that does not take it. All else goes to Apply.
func TestPutter(t *testing.T) {
	p := &putter{}
	i := opened(t, func(_ context.Context, e sdk.Env) (storage.Backend, error) {
		p.Backend = memory.New(memory.DefaultConfig(), e)
		return p, nil
	}, nil)
	w := storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.Put([]byte("b"), []byte("value"))}}
	identified := frame(9, abi.OpApply, &abi.Header{Now: 1_700_000_000_001}, abi.AppendWriteSet(nil, &w))
	last := uint64(0)
	for _, step := range []struct {
		name          string
		frames        [][]byte
		puts, applies int
	}{
		{"a usual one", [][]byte{put(7, "a", []byte("value"))}, 1, 0},
		{"one it does not take", [][]byte{put(8, "no", []byte("value"))}, 1, 1},
		{"one with an ID", [][]byte{identified}, 0, 1},
		{"several", [][]byte{put(1, "c", []byte("value")), put(2, "d", []byte("value"))}, 0, 2},
	} {
		p.puts, p.applies = 0, 0
		for n, f := range i.call(t, step.frames...) {
			sent, _, _ := abi.ReadFrame(step.frames[n], 0)
			version, err := abi.DecodeVersion(f.Message)
			if f.Err() != nil || f.ID != sent.ID || err != nil || version != last+1 && last != 0 {
				t.Errorf("%s: answer %d is %+v: version %d after %d, %v, %v", step.name, n, f, version, last, f.Err(), err)
			}
			last = version
		}
		if p.puts != step.puts || p.applies != step.applies {
			t.Errorf("%s: %d puts and %d applies, want %d and %d", step.name, p.puts, p.applies, step.puts, step.applies)
		}
	}
	if i.now != 1_700_000_000_001 {
		t.Errorf("the clock is %d", i.now)
	}
	later := frame(1, abi.OpApply, &abi.Header{Now: 1_800_000_000_000}, abi.AppendWriteSet(nil, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("a"), []byte("value"))}}))
	if i.call(t, later); i.now != 1_800_000_000_000 {
		t.Errorf("a usual put leaves the clock at %d", i.now)
	}
}
