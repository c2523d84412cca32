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

// errNotApplicable reports that a check does not apply to a plugin.
var errNotApplicable = errors.New("not applicable")

// raw calls a backend with requests as frames, and returns frames, as they are.
type raw interface {
	storage.Backend
	Raw(ctx context.Context, frames []byte) (answer []byte, err error)
	// Stated returns the limits of the plugin's own Info.
	Stated() storage.Limits
}

// opener opens the plugin with a configuration.
type opener func(ctx context.Context, config json.RawMessage) (raw, error)

// guest is an opened plugin that a check talks to in frames.
type guest struct {
	ctx    context.Context
	b      raw
	store  *storage.Store
	stated storage.Limits
	clock  func() time.Time
	again  func(func(raw) error) error // runs a function on another instance, which may end by it
	filled bool                        // "known" is there
	plain  bool                        // it is asked over gRPC, which answers by itself what is no message
	module bool                        // it gets all frames of a call at once
	of     *trial
}

// The item that must exist after every check, if the plugin can be written to.
var known, knownValue = []byte("known"), []byte("value")

// checks apply to every plugin. The plugin must answer, and continue to work.
var checks = []struct {
	name string
	run  func(*guest) error
}{
	{first, answers},
	{"flags", unknownFlags},
	{"headers", headers},
	{"unreadable_frames", unreadable},
	{"get_in_a_frame", getInAFrame},
	{"unknown_op", unknownOp},
	{"unknown_kinds", unknownKinds},
	{"kinds_above_255", largeKinds},
	{"negative_times_and_lengths_of_ids", negatives},
	{"fields_without_a_meaning", meaningless},
	{"forms_of_messages", forms},
	{"unknown_fields_and_tags", unknownFields},
	{"limits_are_kept", limits},
	{"exempt_from_limits", exempt},
	{"first_refusal", firstRefusal},
	{"unclaimed_is_refused", unclaimed},
	{"message_cut_at_every_byte", cutMessages},
	{"random_bytes", randomBytes},
	{"mutated_requests", mutated},
	{"many_frames_in_a_call", manyFrames},
	{"a_budget_that_is_too_small", smallBudget},
	{"budget_of_a_call", budgetOfACall},
	{"budget_of_a_scan", budgetOfAScan},
	{"budget_of_an_apply", budgetOfAnApply},
	{"large_requests_then_small_ones", largeThenSmall},
	{"space_used_up", spaceUsedUp},
}

// first is the check without which no other says anything: it runs before all others.
const first = "plain_answers"

// category is that of what no host would send.
const category = "hostile"

// trial runs the checks on instances of one plugin.
type trial struct {
	open   opener
	config json.RawMessage
	clock  func() time.Time
	// shared has the checks use one instance, for a plugin that takes long to start: it is
	// emptied between them, and replaced after a failure.
	shared bool
	last   raw
	room   int64 // bytes that are written at most, to see what happens when there is no space left

	endless bool // there was space for all of room
}

// hostile runs the checks that only selects. It reports whether the plugin answers frames
// at all: if not, no other check says anything.
func (t *trial) hostile(ctx context.Context, only func(category, check string) bool, each func(storagetest.Result)) (sound bool) {
	defer t.drop(ctx)
	for _, c := range checks {
		if !only(category, c.name) {
			continue
		}
		r := result(c.name, func() error { return t.tried(ctx, c.run) })
		if each(r); c.name == first && r.Outcome == storagetest.Failed {
			return false
		}
	}
	if last := "configuration_with_an_unknown_field"; only(category, last) {
		each(result(last, func() error { return unknownConfig(ctx, t.open) }))
	}
	return true
}

// result returns the result of a check.
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

// take returns an instance that is empty, if the plugin can be emptied.
func (t *trial) take(ctx context.Context) (raw, error) {
	if b := t.last; b != nil {
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}}); err == nil {
			return b, nil
		}
		t.drop(ctx)
	}
	b, err := t.open(ctx, t.config)
	if err == nil && t.shared {
		t.last = b
	}
	return b, err
}

// drop ends the shared instance. Its state is of no interest.
func (t *trial) drop(ctx context.Context) {
	if t.last != nil {
		_ = t.last.Close(context.WithoutCancel(ctx))
		t.last = nil
	}
}

// tried runs a check and looks whether the plugin goes on.
func (t *trial) tried(ctx context.Context, run func(*guest) error) error {
	b, err := t.take(ctx)
	if err != nil {
		return err
	}
	if err := t.run(ctx, b, run); err != nil {
		if t.shared && !errors.Is(err, errNotApplicable) {
			t.drop(ctx)
		}
		if !t.shared {
			_ = b.Close(context.WithoutCancel(ctx))
		}
		return err
	}
	if t.shared {
		return nil
	}
	return b.Close(context.WithoutCancel(ctx))
}

func (t *trial) run(ctx context.Context, b raw, run func(*guest) error) error {
	g := &guest{ctx: ctx, b: b, store: storage.New(b, storage.Settings{Clock: t.clock}), stated: b.Stated(), clock: t.clock, module: true, of: t}
	g.again = func(do func(raw) error) error {
		b, err := t.open(ctx, t.config)
		if err != nil {
			return err
		}
		defer b.Close(context.WithoutCancel(ctx)) // it may have ended
		return do(b)
	}
	if asked, ok := b.(interface{ Transport() string }); ok {
		g.module, g.plain = false, asked.Transport() == "gRPC"
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

// frame returns a request.
func (g *guest) frame(id uint32, op abi.Op, message []byte) []byte {
	return g.within(id, abi.DefaultMaxFrame, op, message)
}

// ask sends one request and returns the code and message of the answer.
func (g *guest) ask(op abi.Op, message []byte) (storage.Code, []byte, error) {
	return g.one(g.frame(7, op, message))
}

func (g *guest) one(request []byte) (storage.Code, []byte, error) {
	replies, err := g.exchange(0, request)
	if err != nil {
		return 0, nil, err
	}
	return replies[0].code, replies[0].message, nil
}

// refused sends a request that must fail with one of the codes.
func (g *guest) refused(what string, op abi.Op, message []byte, want ...storage.Code) error {
	code, answer, err := g.ask(op, message)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if slices.Contains(want, code) {
		return nil
	}
	if code != storage.OK && len(answer) > 0 {
		return fmt.Errorf("%s is answered with %s (%w), want %s", what, code.Name(), abi.DecodeError(answer), want[0].Name())
	}
	return fmt.Errorf("%s is answered with %s, want %s", what, code.Name(), want[0].Name())
}
