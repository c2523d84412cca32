package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// errNotApplicable is that a check says nothing about a plugin.
var errNotApplicable = errors.New("not applicable")

// raw is a backend that takes requests as frames, and answers frames, as they are.
type raw interface {
	storage.Backend
	Raw(ctx context.Context, frames []byte) (answer []byte, err error)
}

// opener opens the plugin with a configuration.
type opener func(ctx context.Context, config json.RawMessage) (raw, error)

// guest is an opened plugin that a check talks to in frames.
type guest struct {
	ctx    context.Context
	b      raw
	store  *storage.Store
	filled bool // "known" is there
	plain  bool // it is asked over gRPC, which answers by itself what is no message
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
func hostile(ctx context.Context, open opener, config json.RawMessage, only func(category, check string) bool, each func(storagetest.Result)) {
	for _, c := range checks {
		if only(category, c.name) {
			each(result(c.name, func() error { return tried(ctx, open, config, c.run) }))
		}
	}
	if last := "configuration_with_an_unknown_field"; only(category, last) {
		each(result(last, func() error { return unknownConfig(ctx, open) }))
	}
}

// category is that of what no host would send.
const category = "hostile"

// result is what came of a check.
func result(name string, run func() error) storagetest.Result {
	r := storagetest.Result{Category: category, Name: name}
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
func tried(ctx context.Context, open opener, config json.RawMessage, run func(*guest) error) error {
	b, err := open(ctx, config)
	if err != nil {
		return err
	}
	defer b.Close(context.WithoutCancel(ctx))
	g := &guest{ctx: ctx, b: b, store: storage.New(b, storage.Settings{})}
	if asked, ok := b.(interface{ Plane() string }); ok {
		g.plain = asked.Plane() == "gRPC"
	}
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
