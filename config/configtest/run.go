package configtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Engine returns what the backend of a plugin with a configuration can do, and refuses a
// configuration that the plugin would not open with.
type Engine func(context.Context, sdk.Env) (storage.Info, error)

// scratch is the plugin that stands for those whose abilities are not known.
const scratch = "scratch"

// calls are those of a backend, by their names.
var calls = map[string]storagetest.Call{"get": storagetest.CallGet, "get_many": storagetest.CallGetMany, "scan": storagetest.CallScan, "apply": storagetest.CallApply}

var callNames = slices.Sorted(maps.Keys(calls))

// Run runs the tests of f over the configuration at path, and calls each with the error
// of every test, nil if it passed. A model replaces the store's plugin. It has the
// abilities that engines report for the plugin, or all of them if engines do not know it.
// An invalid configuration is the returned error.
func Run(ctx context.Context, f *File, path string, engines map[string]Engine, opts []plinth.Option, each func(*Test, error)) error {
	for i := range f.Tests {
		t := &f.Tests[i]
		r := &running{test: t, clock: &clock{now: t.start}}
		if err := r.open(ctx, path, engines, opts); err != nil {
			return err
		}
		each(t, errors.Join(r.run(ctx), r.host.Close(ctx)))
	}
	return nil
}

// clock is one that only a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// running holds a test while it runs.
type running struct {
	test  *Test
	clock *clock
	host  *plinth.Host
	store *plinth.Store
	below *storagetest.Faults
	model *storagetest.Model
}

// open opens the store of the test alone, over a model.
func (r *running) open(ctx context.Context, path string, engines map[string]Engine, opts []plinth.Option) error {
	cfg, err := plinth.Load(path, opts...)
	if err != nil {
		return err
	}
	store, ok := cfg.Stores[r.test.Store]
	if !ok {
		return fmt.Errorf("test %q: unknown store %q%s", r.test.Name, clip(r.test.Store), config.Hint(r.test.Store, slices.Sorted(maps.Keys(cfg.Stores))))
	}
	if shared := store.Backend.Store; shared != "" {
		store.Backend = cfg.Stores[shared].Backend
	}
	engine, ok := engines[store.Backend.Plugin]
	if !ok {
		store.Backend = config.Backend{Plugin: scratch}
		engine = func(context.Context, sdk.Env) (storage.Info, error) { return ableToAll(), nil }
	}
	cfg.Stores = map[string]config.Store{r.test.Store: store}
	cfg.Plugins = nil
	cfg.AllowFaults = true
	opener := func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		info, err := engine(ctx, env)
		if err != nil {
			return nil, err
		}
		r.model = storagetest.NewModel(r.clock.get, info)
		r.below = storagetest.NewFaults(r.model)
		return r.below, nil
	}
	opts = append(slices.Clone(opts), plinth.WithClock(r.clock.get), plinth.WithBackend(store.Backend.Plugin, opener))
	if r.host, err = plinth.OpenConfig(ctx, cfg, opts...); err != nil {
		return err
	}
	r.store, err = r.host.Store(r.test.Store)
	return err
}

// ableToAll returns a backend that can everything, without limits that tests would meet.
func ableToAll() storage.Info {
	i := storagetest.ModelInfo()
	i.Caps |= storage.CapDurable | storage.CapOrdered
	i.Limits = storage.Limits{Key: 64 << 10, Value: 8 << 20, Ops: 25_000, WriteBytes: 16 << 20, GetKeys: 10_000, TTLPrecision: time.Millisecond}
	return i
}

// run does the steps up to the first of which something else came than was expected.
func (r *running) run(ctx context.Context) error {
	below := storage.New(r.model, storage.Settings{Clock: r.clock.get, Borrowed: true})
	for _, g := range r.test.Given {
		var opts []storage.PutOption
		if g.TTL > 0 {
			opts = append(opts, storage.WithTTL(time.Duration(g.TTL)))
		}
		if _, err := below.Put(ctx, []byte(g.Key), []byte(g.Value), opts...); err != nil {
			return fmt.Errorf("given %q: %w", clip(g.Key), err)
		}
	}
	for _, n := range r.test.Steps {
		s, err := read(n)
		if err != nil {
			return err
		}
		before := r.made()
		got, err := r.do(ctx, n, &s)
		var e expect
		if s.Expect != nil {
			if err := s.Expect.Decode(&e); err != nil {
				return err
			}
		}
		if wrong := e.differs(got, err, r.made().since(before), r.clock.get()); wrong != "" {
			if s.Expect != nil {
				return s.Expect.Errorf("", "%s", wrong)
			}
			return n.Errorf("", "%s", wrong)
		}
	}
	return nil
}

// counts counts how often each call of the backend was made.
type counts map[string]int

func (r *running) made() counts {
	c := counts{}
	for name, call := range calls {
		c[name] = r.below.Made(call)
	}
	return c
}

func (c counts) since(before counts) counts {
	d := counts{}
	for name, n := range c {
		d[name] = n - before[name]
	}
	return d
}

// outcome holds the result of a step.
type outcome struct {
	item storage.Item
	read bool // there is an item
	keys []string
}

func (r *running) do(ctx context.Context, n *config.Node, s *step) (got outcome, err error) {
	switch {
	case s.Get != nil:
		got.item, err = r.store.GetItem(ctx, []byte(*s.Get))
		got.read = err == nil
	case s.Backend != nil:
		got.item, err = r.model.Get(ctx, []byte(*s.Backend))
		got.read = err == nil
	case s.Touch != nil:
		_, err = r.store.Touch(ctx, []byte(*s.Touch), time.Duration(s.TTL))
	case s.Scan != nil:
		for it, err := range r.store.Prefix(ctx, []byte(*s.Scan), storage.RangeOptions{Limit: s.Limit, Reverse: s.Reverse}) {
			if err != nil {
				return got, err
			}
			got.keys = append(got.keys, string(it.Key))
		}
	case s.Clear != nil:
		_, err = r.store.ClearRange(ctx, []byte(*s.Clear), storage.PrefixEnd([]byte(*s.Clear)))
	case s.Advance != nil:
		r.clock.advance(time.Duration(*s.Advance))
	case s.Fault != nil:
		return got, r.inject(n, s)
	default:
		err = r.write(ctx, s)
	}
	return got, err
}

// write does a put, a delete, or several.
func (r *running) write(ctx context.Context, s *step) error {
	writes := s.Apply
	if writes == nil {
		writes = []write{{s.Put, s.Delete, s.Value, s.TTL, s.If}}
	}
	var w storage.WriteSet
	for _, one := range writes {
		op, err := r.op(&one)
		if err != nil {
			return err
		}
		w.Ops = append(w.Ops, op)
		w.Checks = append(w.Checks, one.If.checks(op.Key)...)
	}
	_, err := r.store.Apply(ctx, &w)
	return err
}

func (r *running) op(w *write) (op storage.Op, err error) {
	switch {
	case (w.Put == nil) == (w.Delete == nil):
		return op, storage.Errorf(storage.InvalidArgument, "a write must be a put or a delete")
	case w.Delete != nil:
		return storage.Delete([]byte(*w.Delete)), nil
	}
	op = storage.Put([]byte(*w.Put), []byte(w.Value))
	if w.TTL > 0 {
		op.ExpiresAt, err = storage.ExpiryAfter(r.clock.get(), time.Duration(w.TTL))
	}
	return op, err
}

func (c *condition) checks(key []byte) (checks []storage.Check) {
	if c.Absent {
		checks = append(checks, storage.Absent(key))
	}
	if c.Present {
		checks = append(checks, storage.Present(key))
	}
	if c.Value != nil {
		checks = append(checks, storage.HasValue(key, []byte(*c.Value)))
	}
	return checks
}

// inject has the backend fail from now on, or not any more.
func (r *running) inject(n *config.Node, s *step) error {
	if *s.Fault == "none" {
		r.below.Set()
		return nil
	}
	f, err := s.fault(n)
	if err == nil {
		r.below.Set(f)
	}
	return err
}

// fault returns what a step injects.
func (s *step) fault(n *config.Node) (f storagetest.Fault, err error) {
	c, ok := code(*s.Fault)
	if !ok {
		return f, n.Errorf("fault", "unknown error code %q%s", clip(*s.Fault), config.Hint(*s.Fault, append(codes(), "none")))
	}
	f = storagetest.Fault{After: s.After, Times: s.Times, Err: c, Applied: s.Applied, Delay: time.Duration(s.Delay)}
	for _, name := range s.Calls {
		call, ok := calls[name]
		if !ok {
			return f, n.Errorf("calls", "unknown call %q%s", clip(name), config.Hint(name, callNames))
		}
		f.Calls = append(f.Calls, call)
	}
	return f, nil
}

// differs returns how the result differs from the expected one, or "" if it does not.
func (e *expect) differs(got outcome, err error, made counts, now time.Time) string {
	wanted := e.Error
	if e.Absent {
		wanted = storage.NotFound.Name()
	}
	switch came := storage.CodeOf(err).Name(); {
	case wanted == "" && err != nil:
		return fmt.Sprintf("it failed: %v (%s)", err, came)
	case wanted != "" && err == nil:
		return fmt.Sprintf("expected the error %s, but the step succeeded: got%s", wanted, got.shown())
	case wanted != "" && came != wanted:
		return fmt.Sprintf("expected the error %s, got %s: %v", wanted, came, err)
	}
	if e.Value != nil && (!got.read || string(got.item.Value) != *e.Value) {
		return fmt.Sprintf("expected the value %q, got%s", clip(*e.Value), got.shown())
	}
	if e.Keys != nil && !slices.Equal(got.keys, *e.Keys) {
		return fmt.Sprintf("expected the keys %q, got %q", *e.Keys, got.keys)
	}
	if e.ExpiresIn != nil {
		in := time.Duration(0)
		if !got.item.ExpiresAt.IsZero() {
			in = got.item.ExpiresAt.Sub(now)
		}
		if in != time.Duration(*e.ExpiresIn) {
			return fmt.Sprintf("expected expiry in %s, got %s (0s: never)", time.Duration(*e.ExpiresIn), in)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Calls)) {
		if made[name] != e.Calls[name] {
			return fmt.Sprintf("expected %d calls of %s to the backend, got %d", e.Calls[name], name, made[name])
		}
	}
	return ""
}

// shown returns what was read, for messages.
func (o *outcome) shown() string {
	switch {
	case o.read:
		return fmt.Sprintf(" the value %q", clip(string(o.item.Value)))
	case o.keys != nil:
		return " the keys " + strings.Join(o.keys, ", ")
	}
	return " nothing"
}
