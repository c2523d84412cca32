package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/loadgen"
	"github.com/plinthkv/plinth/storage"
)

type benchCmd struct {
	Target target `embed:""`
	Config string `help:"Drive the store of this configuration, opened in this program, in place of a served one." type:"path" short:"c"`

	Workload     string        `help:"What is done: a letter of YCSB, from A to F, or a mix of read, update, insert, scan and modify, such as read=90,update=10." default:"A"`
	Distribution string        `help:"Which keys are asked for: zipfian, uniform or latest; as it is, what the workload has." default:""`
	Records      uint64        `help:"How many items there are." default:"10000"`
	KeySize      int           `help:"Bytes of a key." default:"24"`
	ValueSize    int           `help:"Bytes of a value." default:"100"`
	Rate         float64       `help:"Operations per second of all callers together; 0: each caller begins the next when the one before is done." default:"0"`
	Callers      int           `help:"How many callers there are, each with a connection of its own." default:"16"`
	Warmup       time.Duration `help:"How long before anything is counted." default:"5s"`
	Duration     time.Duration `help:"How long it is counted." default:"30s"`
	Prefix       string        `help:"What the keys begin with. Everything that begins with it is removed, before and after." default:"bench/"`
	Keep         bool          `help:"Leave the items there."`

	JSON    string   `name:"json" help:"Write the result to a file, for --compare." placeholder:"FILE"`
	SVG     string   `name:"svg" help:"Draw latencies over time into a file." placeholder:"FILE"`
	Compare []string `help:"Compare two results, and do nothing else: --compare BEFORE,AFTER." placeholder:"FILE,FILE"`
}

// Help is what "plinth bench --help" adds.
func (*benchCmd) Help() string {
	return `With --rate, an operation's latency counts from when it was due, so that what waits for a store that stops is not
forgotten. Without it, latencies are those of callers who wait, which flatter a store that stops: use a rate to
say how a store behaves, and none to find out how much it can do.

Compare what was measured on the same machine, idle: "plinth bench --json before.json", then after a change
"plinth bench --json after.json", then "plinth bench --compare before.json,after.json".`
}

func (c *benchCmd) Run(ctx context.Context, e env) error {
	if c.Compare != nil {
		return c.compare(e.stdout)
	}
	o, err := c.options()
	if err != nil {
		return usagef("%v", err)
	}
	stores, stop, err := c.open(ctx, e, o.Callers)
	if err != nil {
		return err
	}
	result, err := c.measure(ctx, e, o, stores)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if err := result.Write(e.stdout); err != nil {
		return err
	}
	if c.SVG != "" {
		if err := toFile(c.SVG, result.WriteSVG); err != nil {
			return err
		}
	}
	if c.JSON != "" {
		return toFile(c.JSON, func(w io.Writer) error { return json.NewEncoder(w).Encode(result) })
	}
	return nil
}

func (c *benchCmd) options() (o loadgen.Options, err error) {
	if o.Workload, err = loadgen.ParseWorkload(c.Workload); err != nil {
		return o, fmt.Errorf("--workload: %w", err)
	}
	if c.Distribution != "" {
		o.Distribution = loadgen.Distribution(c.Distribution)
	}
	o.Prefix, o.Records, o.KeySize, o.Value = c.Prefix, c.Records, c.KeySize, c.ValueSize
	o.Rate, o.Callers, o.Warmup, o.Duration = c.Rate, c.Callers, c.Warmup, c.Duration
	if c.Prefix == "" {
		return o, fmt.Errorf("--prefix is empty: everything in the store would be removed")
	}
	return o, o.Validate()
}

// open opens the store once for each caller, or the one of a configuration for all.
func (c *benchCmd) open(ctx context.Context, e env, callers int) (stores []served, stop func() error, err error) {
	if c.Config == "" {
		stop = func() (err error) {
			for _, s := range stores {
				err = errors.Join(err, s.close())
			}
			return err
		}
		for range callers {
			s, err := c.Target.open(ctx)
			if err != nil {
				return nil, nil, errors.Join(err, stop())
			}
			stores = append(stores, s)
		}
		return stores, stop, nil
	}
	h, err := plinth.Open(ctx, c.Config, source{Config: c.Config}.options(e)...)
	if err != nil {
		return nil, nil, listed(err)
	}
	stop = func() error { return h.Close(context.Background()) }
	s, err := h.Store(c.Target.Store)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	for range callers {
		stores = append(stores, &grpcStore{store: s.Store})
	}
	return stores, stop, nil
}

// measure fills the store, drives it and empties it.
func (c *benchCmd) measure(ctx context.Context, e env, o loadgen.Options, stores []served) (r *loadgen.Result, err error) {
	whole := bounds{Prefix: &c.Prefix}
	if !c.Keep {
		if err := stores[0].clear(ctx, whole); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stores[0].clear(context.WithoutCancel(ctx), whole)) }()
	}
	if err := c.fill(ctx, e, o, stores[0]); err != nil {
		return nil, err
	}
	targets := make([]loadgen.Target, len(stores))
	for i, s := range stores {
		targets[i] = driven{s}
	}
	p := newProgress(e.stderr, "measured", 0)
	r, err = loadgen.Run(ctx, o, targets, func(s loadgen.Second) {
		if p.terminal {
			p.show(fmt.Sprintf("%ds: %d/s, p50 %s, p99 %s, %d errors", s.At+1, s.Count, time.Duration(s.P50), time.Duration(s.P99), s.Errors), "")
		}
	})
	p.leave()
	return r, err
}

// fill puts the records into the store, those of an earlier run again.
func (c *benchCmd) fill(ctx context.Context, e env, o loadgen.Options, s served) error {
	p := newProgress(e.stderr, "filled in", 0).onTerminalOnly()
	value := make([]byte, o.Value)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	var n int64
	to := sink{to: s, settled: func(ops []storage.Op, err error) error {
		n += int64(len(ops))
		p.at(n, 0)
		return err
	}}
	w := to.writer(ctx, info)
	for n := range o.Records {
		if err := errors.Join(ctx.Err(), w.Put(ctx, o.Key(n), value)); err != nil {
			return fmt.Errorf("filling in items: %w", cause(err))
		}
	}
	err = w.Close(ctx)
	p.leave()
	if err != nil {
		return fmt.Errorf("filling in items: %w", cause(err))
	}
	return nil
}

// driven is a served store as a load asks it.
type driven struct{ served }

func (d driven) Get(ctx context.Context, key []byte) error { return d.get(ctx, key, io.Discard) }

func (d driven) Put(ctx context.Context, key, value []byte) error {
	return d.put(ctx, newItem{key: key, value: value}, expected{})
}

func (d driven) Scan(ctx context.Context, start []byte, n int) error {
	from := string(start)
	return d.scan(ctx, scanQuery{bounds: bounds{Start: &from}, limit: n}, func(line) error { return nil })
}

func (d driven) Modify(ctx context.Context, key, value []byte) error {
	var before writerOf
	if err := d.get(ctx, key, &before); err != nil {
		return err
	}
	return d.put(ctx, newItem{key: key, value: value}, expected{kind: storage.CheckValue, value: before})
}

// writerOf keeps what is written.
type writerOf []byte

func (w *writerOf) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

func (c *benchCmd) compare(w io.Writer) error {
	if len(c.Compare) != 2 {
		return usagef("--compare takes two files, with a comma between them")
	}
	var results [2]*loadgen.Result
	for i, name := range c.Compare {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		results[i], err = loadgen.ReadResult(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return loadgen.Compare(w, results[0], results[1])
}

// toFile writes a file as a whole or not at all.
func toFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".plinth-*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
