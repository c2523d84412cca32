package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/host/wasmhost"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// errNotApplicable is that a check says nothing about a plugin.
var errNotApplicable = errors.New("not applicable")

// guest is an opened plugin that a check talks to in frames.
type guest struct {
	ctx    context.Context
	b      *wasmhost.Backend
	store  *storage.Store
	filled bool // "known" is there
}

// The item that has to be there after whatever a check does, if the plugin
// can be written to.
var known, knownValue = []byte("known"), []byte("value")

// checks are what every plugin has to stand. The plugin has to answer, and to go on.
var checks = []struct {
	name string
	run  func(*guest) error
}{
	{"unknown_op", unknownOp},
	{"unknown_kinds", unknownKinds},
	{"unknown_fields_and_tags", unknownFields},
	{"message_cut_at_every_byte", cutMessages},
	{"random_bytes", randomBytes},
	{"mutated_requests", mutated},
	{"many_frames_in_a_call", manyFrames},
	{"a_budget_that_is_too_small", smallBudget},
	{"large_requests_then_small_ones", largeThenSmall},
	{"space_used_up", spaceUsedUp},
}

// hostile runs the checks, each on an instance of its own.
func hostile(ctx context.Context, m *wasmhost.Module, open func(context.Context) (*wasmhost.Backend, error), each func(storagetest.Result)) {
	for _, c := range checks {
		each(result(c.name, func() error { return tried(ctx, open, c.run) }))
	}
	each(result("configuration_with_an_unknown_field", func() error { return unknownConfig(ctx, m) }))
}

// result is what came of a check.
func result(name string, run func() error) storagetest.Result {
	r := storagetest.Result{Category: "hostile", Name: name}
	start := time.Now()
	err := run()
	r.Took = time.Since(start)
	switch {
	case errors.Is(err, errNotApplicable):
		r.Outcome, r.Text = storagetest.NotApplicable, err.Error()
	case err != nil:
		r.Outcome, r.Text = storagetest.Failed, err.Error()
	}
	return r
}

// tried runs a check on a fresh instance and looks whether that goes on.
func tried(ctx context.Context, open func(context.Context) (*wasmhost.Backend, error), run func(*guest) error) error {
	b, err := open(ctx)
	if err != nil {
		return err
	}
	defer b.Close(context.WithoutCancel(ctx))
	g := &guest{ctx: ctx, b: b, store: storage.New(b, storage.Settings{})}
	g.filled = g.store.Set(ctx, known, knownValue) == nil
	if err := run(g); err != nil {
		return err
	}
	v, err := g.store.Get(ctx, known)
	switch {
	case g.filled && (err != nil || string(v) != string(knownValue)):
		return fmt.Errorf("afterwards an item that was there reads %q, %v", v, err)
	case !g.filled && err != nil && !errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("afterwards a get fails: %w", err)
	}
	return nil
}

// frame is a request.
func frame(id uint32, op abi.Op, message []byte) []byte {
	b := abi.BeginFrame(nil, id, uint8(op), &abi.Header{Now: time.Now().UnixMilli(), Budget: abi.DefaultMaxFrame})
	b, err := abi.EndFrame(append(b, message...), 0)
	if err != nil {
		panic(err) // of 4 GiB
	}
	return b
}

// ask sends one request and answers its code and message.
func (g *guest) ask(op abi.Op, message []byte) (storage.Code, []byte, error) {
	return g.one(frame(7, op, message))
}

func (g *guest) one(request []byte) (storage.Code, []byte, error) {
	answer, err := g.b.Raw(g.ctx, request)
	if err != nil {
		return 0, nil, err
	}
	f, rest, err := abi.ReadFrame(answer, 0)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the answer is no frame: %w", err)
	case f.ID != 7 || len(rest) > 0:
		return 0, nil, fmt.Errorf("the answer is to request %d, with %d bytes after it", f.ID, len(rest))
	}
	return storage.Code(f.Kind), f.Message, nil
}

// refused asks for something that has to be answered with one of the codes.
func (g *guest) refused(what string, op abi.Op, message []byte, want ...storage.Code) error {
	code, _, err := g.ask(op, message)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !slices.Contains(want, code) {
		return fmt.Errorf("%s is answered with %s, want %s", what, code, want[0])
	}
	return nil
}

func unknownOp(g *guest) error {
	for _, op := range []abi.Op{0, 6, 99, 255} {
		if err := g.refused(fmt.Sprintf("op %d", op), op, []byte("anything"), storage.Unsupported); err != nil {
			return err
		}
	}
	return nil
}

func unknownKinds(g *guest) error {
	probe := abi.AppendProbe(nil, 99)
	if err := g.refused("probe 99", abi.OpHealth, probe, storage.InvalidArgument); err != nil {
		return err
	}
	if !g.filled {
		return nil
	}
	op := abi.AppendWriteSet(nil, &storage.WriteSet{Ops: []storage.Op{{Kind: 99, Key: []byte("k")}}})
	check := abi.AppendWriteSet(nil, &storage.WriteSet{Checks: []storage.Check{{Kind: 99, Key: []byte("k")}}, Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
	return errors.Join(
		g.refused("an op of kind 99", abi.OpApply, op, storage.InvalidArgument, storage.Unsupported),
		g.refused("a check of kind 99", abi.OpApply, check, storage.InvalidArgument, storage.Unsupported))
}

// unknownFields are what a later version may send: they are skipped.
func unknownFields(g *guest) error {
	if !g.filled {
		return fmt.Errorf("%w: the plugin cannot be written to", errNotApplicable)
	}
	message := abi.AppendGet(nil, known)
	message = append(message, 0xf8, 0x3f, 0x05)                      // field 1023, a varint
	message = append(message, 0xfa, 0x3f, 0x02, 'x', 'y')            // field 1023, bytes
	message = append(message, 0xf9, 0x3f, 1, 2, 3, 4, 5, 6, 7, 8)    // field 1023, 8 bytes
	message = append(message, 0xfd, 0x3f, 1, 2, 3, 4)                // field 1023, 4 bytes
	request := append([]byte{}, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 14, 0) // a header of 14 bytes
	request = append(request, 200, 2, 'h', 'i')
	request = append(request, abi.TagNow, 8)
	now := uint64(time.Now().UnixMilli())
	for i := range 8 {
		request = append(request, byte(now>>(8*i)))
	}
	request, err := abi.EndFrame(append(request, message...), 0)
	if err != nil {
		return err
	}
	code, answer, err := g.one(request)
	if err != nil {
		return err
	}
	var it storage.Item
	if err := abi.DecodeItem(answer, &it); code != storage.OK || err != nil || string(it.Value) != string(knownValue) {
		return fmt.Errorf("a get with unknown fields and tags is answered with %s, %v", code, err)
	}
	return nil
}

// requests are a valid one of each op. The write changes nothing that was there.
func requests() map[abi.Op][]byte {
	version := storage.Check{Kind: storage.CheckAbsent, Key: []byte("no such key")}
	until := time.UnixMilli(4102444800000)
	return map[abi.Op][]byte{
		abi.OpGet:     abi.AppendGet(nil, known),
		abi.OpGetMany: abi.AppendGetMany(nil, [][]byte{known, []byte("other"), {}}),
		abi.OpScan:    abi.AppendQuery(nil, &storage.Query{Start: []byte("a"), End: []byte("z"), Limit: 10, MaxBytes: 1000, Reverse: true}),
		abi.OpApply: abi.AppendWriteSet(nil, &storage.WriteSet{ID: [16]byte{1, 2, 3}, Checks: []storage.Check{version},
			Ops: []storage.Op{storage.PutUntil([]byte("other"), []byte("other value"), until), storage.DeleteRange([]byte("x"), []byte("y"))}}),
		abi.OpHealth: abi.AppendProbe(nil, storage.Readiness),
	}
}

func cutMessages(g *guest) error {
	for op, message := range requests() {
		for n := range message {
			if _, _, err := g.ask(op, message[:n]); err != nil {
				return fmt.Errorf("%s, cut after %d of %d bytes: %w", op, n, len(message), err)
			}
		}
	}
	return nil
}

// The seed of all that is random here, so that a failure comes again.
const seed = 20261123

func randomBytes(g *guest) error {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 2000 {
		message := make([]byte, r.IntN(64))
		for n := range message {
			message[n] = byte(r.Uint32())
		}
		op := abi.Op(1 + r.IntN(5))
		if op == abi.OpApply {
			continue // which might remove what is looked at afterwards
		}
		if _, _, err := g.ask(op, message); err != nil {
			return fmt.Errorf("%s of the random bytes % x (%d): %w", op, message, i, err)
		}
	}
	return nil
}

func mutated(g *guest) error {
	r := rand.New(rand.NewPCG(seed, 2))
	valid := requests()
	for i := range 4000 {
		op := abi.Op(1 + r.IntN(5))
		message := append([]byte{}, valid[op]...)
		for range 1 + r.IntN(3) {
			switch at := r.IntN(len(message) + 1); r.IntN(3) {
			case 0:
				if at < len(message) {
					message[at] = byte(r.Uint32())
				}
			case 1:
				message = slices.Insert(message, at, byte(r.Uint32()))
			case 2:
				if at < len(message) {
					message = slices.Delete(message, at, at+1)
				}
			}
		}
		if op == abi.OpApply && reaches(message, known) {
			continue
		}
		if _, _, err := g.ask(op, message); err != nil {
			return fmt.Errorf("%s of the mutated bytes % x (%d): %w", op, message, i, err)
		}
	}
	return nil
}

// reaches tells whether a mutated write set may touch key: one that cannot be
// read does nothing.
func reaches(message, key []byte) bool {
	var w storage.WriteSet
	if abi.DecodeWriteSet(message, &w) != nil {
		return false
	}
	for _, o := range w.Ops {
		if string(o.Key) == string(key) || o.Kind == storage.OpDeleteRange && storage.InRange(key, o.Key, o.End) {
			return true
		}
	}
	return false
}

// manyFrames are what several callers are combined into, with one among them that
// cannot be read. Those that the plugin leaves are sent again, as a host does.
func manyFrames(g *guest) error {
	const n = 100
	var frames [][]byte
	for i := range n {
		message := abi.AppendGet(nil, known)
		if i == n/2 {
			message = []byte{0x0a, 0xff}
		}
		frames = append(frames, frame(uint32(i), abi.OpGet, message))
	}
	for next := 0; next < n; {
		answer, err := g.b.Raw(g.ctx, slices.Concat(frames[next:]...))
		if err != nil {
			return err
		}
		if len(answer) == 0 {
			return fmt.Errorf("no answer to %d requests", n-next)
		}
		for len(answer) > 0 {
			f, rest, err := abi.ReadFrame(answer, 0)
			switch code := storage.Code(f.Kind); {
			case err != nil:
				return fmt.Errorf("answer %d is no frame: %w", next, err)
			case next >= n || f.ID != uint32(next):
				return fmt.Errorf("answer %d is to request %d", next, f.ID)
			case next == n/2 && code != storage.Serialization && code != storage.InvalidArgument:
				return fmt.Errorf("a request that cannot be read is answered with %s, want %s", code, storage.Serialization)
			case next != n/2 && g.filled && code != storage.OK:
				return fmt.Errorf("request %d is answered with %s", next, code)
			}
			answer = rest
			next++
		}
	}
	return nil
}

// smallBudget asks for more than there is room for.
func smallBudget(g *guest) error {
	size := 4000
	if limit := g.b.Info().Limits.Value; limit > 0 {
		size = min(size, limit)
	}
	if err := g.store.Set(g.ctx, []byte("large"), make([]byte, size)); err != nil {
		return fmt.Errorf("%w: the plugin cannot be written to: %v", errNotApplicable, err)
	}
	budget := uint32(size/2 + 200)
	for op, message := range map[abi.Op][]byte{
		abi.OpGet:     abi.AppendGet(nil, []byte("large")),
		abi.OpGetMany: abi.AppendGetMany(nil, [][]byte{[]byte("large"), []byte("large")}),
	} {
		request := abi.BeginFrame(nil, 7, uint8(op), &abi.Header{Now: time.Now().UnixMilli(), Budget: budget})
		request, err := abi.EndFrame(append(request, message...), 0)
		if err != nil {
			return err
		}
		answer, err := g.b.Raw(g.ctx, request)
		if err != nil {
			return err
		}
		if len(answer) > int(budget) {
			return fmt.Errorf("%s answers %d bytes to a budget of %d", op, len(answer), budget)
		}
		if f, _, err := abi.ReadFrame(answer, 0); err != nil || storage.Code(f.Kind) != storage.RangeLimit {
			return fmt.Errorf("%s over its budget is answered with %s, %v, want %s", op, storage.Code(f.Kind), err, storage.RangeLimit)
		}
	}
	return nil
}

// largeThenSmall makes the request buffer grow and shrink.
func largeThenSmall(g *guest) error {
	size := 8 << 20
	if l := g.b.Info().Limits; l.Value > 0 {
		size = min(size, l.Value)
	}
	for range 3 {
		err := g.store.Set(g.ctx, []byte("large"), make([]byte, size))
		if err != nil && storage.AsError(err).Unknown || errors.Is(err, storage.ErrUnavailable) {
			return fmt.Errorf("a value of %d bytes, which its limits allow: %w", size, err)
		}
		for range 10 {
			if _, err := g.store.Get(g.ctx, []byte("small")); err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		if v, got := g.store.Get(g.ctx, []byte("large")); err == nil && (got != nil || len(v) != size) {
			return fmt.Errorf("%d of %d bytes come back, %v", len(v), size, got)
		}
	}
	return nil
}

// spaceUsedUp writes until the plugin says that there is no room.
func spaceUsedUp(g *guest) error {
	size := 256 << 10
	if limit := g.b.Info().Limits.Value; limit > 0 {
		size = min(size, limit)
	}
	value := make([]byte, size)
	const most = 2 << 30
	for i := 0; i*size < most; i++ {
		err := g.store.Set(g.ctx, fmt.Appendf(nil, "fill%09d", i), value)
		switch {
		case err == nil:
			continue
		case i == 0 && !errors.Is(err, storage.ErrUnavailable):
			return fmt.Errorf("%w: the plugin cannot be written to: %v", errNotApplicable, err)
		case !errors.Is(err, storage.ErrNoSpace):
			return fmt.Errorf("after %d values of %d bytes: %w, want %s", i, size, err, storage.NoSpace)
		}
		if err := g.store.Delete(g.ctx, []byte("fill000000000")); err != nil {
			return fmt.Errorf("a delete when the space is used up: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%w: there is room for more than %d bytes", errNotApplicable, most)
}

// unknownConfig opens the plugin with a setting that it cannot have.
func unknownConfig(ctx context.Context, m *wasmhost.Module) error {
	b, err := m.Open(ctx, json.RawMessage(`{"no such setting": true}`))
	if err == nil {
		b.Close(ctx)
		return errors.New("a setting that it cannot know is taken without a word, so that a slip in a configuration goes unseen")
	}
	if e := storage.AsError(err); e.Code != storage.InvalidArgument {
		return fmt.Errorf("a setting that it cannot know is answered with %w, want %s", err, storage.InvalidArgument)
	}
	return nil
}
