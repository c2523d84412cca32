package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// planted is a module that keeps the contract, but for what is put in its place: a model
// behind the loop that abi/SPEC.md describes.
type planted struct {
	storage.Backend
	a *sdk.Answerer

	mu      sync.Mutex
	request func(f *abi.Frame, header *[]byte)                 // changes what is read
	answer  func(f abi.Frame, h abi.Header, out []byte) []byte // changes an answer
	refuse  func(f abi.Frame) error                            // refuses before anything else
	raw     func(frames []byte) ([]byte, error)                // stands for the whole loop
	budget  func(h abi.Header, used int) int                   // of the next answer
	behind  bool                                               // an apply runs behind other answers, whatever is left
	flags   bool                                               // unknown flags are ignored
	close   func(context.Context) error
}

func (p *planted) Stated() storage.Limits { return p.Info().Limits }

func (p *planted) Close(ctx context.Context) error {
	if p.close != nil {
		return p.close(ctx)
	}
	return p.Backend.Close(ctx)
}

func (p *planted) Raw(_ context.Context, frames []byte) (out []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw != nil {
		return p.raw(frames)
	}
	return p.loop(frames)
}

// loop answers as many frames as fit the budget of the first.
func (p *planted) loop(frames []byte) (out []byte, err error) {
	total := 0
	for rest := frames; len(rest) > 0; {
		if p.flags && len(rest) > 9 {
			rest = slices.Clone(rest)
			rest[9] = 0
		}
		f, after, err := abi.ReadFrame(rest, 0)
		if err != nil && !errors.Is(err, storage.ErrUnsupported) {
			return nil, err // with the error bit
		}
		header := f.Header
		if err == nil && p.request != nil {
			p.request(&f, &header)
		}
		var h abi.Header
		unread := h.Decode(header)
		if total == 0 {
			if total = abi.DefaultMaxFrame; h.Budget != 0 {
				total = int(h.Budget)
			}
		}
		left := total - len(out)
		if len(out) > 0 && abi.Op(f.Kind) == abi.OpApply && left < sdk.AnswerReserve && !p.behind {
			break
		}
		if p.budget != nil {
			left = p.budget(h, len(out))
		}
		var one []byte
		switch {
		case err != nil:
			one = sdk.AppendError(nil, f.ID, err)
		case p.refuse != nil && p.refuse(f) != nil:
			one = sdk.AppendError(nil, f.ID, p.refuse(f))
		default:
			one = p.a.AnswerRead(nil, f, &h, unread, left)
		}
		if p.answer != nil {
			one = p.answer(f, h, one)
		}
		if len(out) > 0 && one[8] == uint8(storage.RangeLimit) || len(out) > 0 && len(out)+len(one) > total && p.budget == nil && abi.Op(f.Kind) != abi.OpApply {
			break
		}
		out, rest = append(out, one...), after
	}
	return out, nil
}

// writes changes the write sets that are read; w may be changed in place.
func writes(change func(w *storage.WriteSet)) func(*planted) {
	return func(p *planted) {
		p.request = func(f *abi.Frame, _ *[]byte) {
			var w storage.WriteSet
			if abi.Op(f.Kind) == abi.OpApply && abi.DecodeWriteSet(f.Message, &w) == nil {
				change(&w)
				f.Message = abi.AppendWriteSet(nil, &w)
			}
		}
	}
}

// rewritten changes the bytes of the messages of an op.
func rewritten(op abi.Op, change func([]byte) []byte) func(*planted) {
	return func(p *planted) {
		p.request = func(f *abi.Frame, _ *[]byte) {
			if abi.Op(f.Kind) == op {
				f.Message = change(slices.Clone(f.Message))
			}
		}
	}
}

// tags changes the tags of headers.
func tags(change func(number byte, v []byte) []byte) func(*planted) {
	return func(p *planted) {
		p.request = func(_ *abi.Frame, header *[]byte) {
			var out []byte
			for b := *header; len(b) >= 2 && len(b) >= 2+int(b[1]); b = b[2+int(b[1]):] {
				out = append(out, tag(b[0], change(b[0], b[2:2+int(b[1])]))...)
			}
			*header = out
		}
	}
}

// refusedBefore judges write sets in its own order.
func refusedBefore(judge func(w *storage.WriteSet, info storage.Info) error) func(*planted) {
	return func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var w storage.WriteSet
			if abi.Op(f.Kind) != abi.OpApply || abi.DecodeWriteSet(f.Message, &w) != nil {
				return nil
			}
			return judge(&w, p.Info())
		}
	}
}

func padded(v []byte, n int) []byte {
	return append(v[:min(len(v), n)], make([]byte, max(n-len(v), 0))...)
}

// unlimited has a plugin check other limits than it states.
func unlimited(change func(*storage.Limits)) func(*planted) {
	return func(p *planted) {
		info := p.Info()
		change(&info.Limits)
		p.a = sdk.NewAnswerer(storagetest.NewModel(storagetest.NewClock().Now, info))
	}
}

// plugin opens planted modules. Half of them claim less than a model can.
func plugin(clock *storagetest.Clock, lacks storage.Caps, plant func(*planted)) *trial {
	return &trial{clock: clock.Now, room: 1 << 20, open: func(_ context.Context, config json.RawMessage) (raw, error) {
		if len(config) > 0 {
			return nil, storage.Errorf(storage.InvalidArgument, "there are no settings")
		}
		info := storagetest.ModelInfo()
		info.Caps &^= lacks
		p := &planted{Backend: storagetest.NewModel(clock.Now, info)}
		p.a = sdk.NewAnswerer(p.Backend)
		plant(p)
		return p, nil
	}}
}

// some is what the faulty modules do not claim: a check of what is not claimed has to have something.
const some = storage.CapIdempotent | storage.CapReverse | storage.CapSnapshotScan | storage.CapChanges

func results(t *testing.T, of *trial) map[string]storagetest.Result {
	t.Helper()
	all := map[string]storagetest.Result{}
	of.hostile(t.Context(), func(_, check string) bool { return true }, func(r storagetest.Result) { all[r.Name] = r })
	return all
}

// A module without a fault passes, whatever it claims, also on one instance.
func TestNoFault(t *testing.T) {
	for _, lacks := range []storage.Caps{0, some} {
		for _, shared := range []bool{false, true} {
			of := plugin(storagetest.NewClock(), lacks, func(*planted) {})
			of.shared = shared
			for name, r := range results(t, of) {
				if r.Outcome == storagetest.Failed {
					t.Errorf("%s: %s", name, r.Text)
				}
			}
		}
	}
}

// Each fault is caught by the checks named.
func TestPlantedFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			for _, name := range f.caught {
				failed := false
				of := plugin(storagetest.NewClock(), some, f.plant)
				of.hostile(t.Context(), func(_, check string) bool { return check == name }, func(r storagetest.Result) {
					if failed = r.Outcome == storagetest.Failed; failed {
						t.Logf("%s: %s", name, r.Text)
					}
				})
				if !failed {
					t.Errorf("%s does not see it", name)
				}
			}
		})
	}
}
