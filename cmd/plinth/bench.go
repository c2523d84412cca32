package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/loadgen"
	"github.com/plinthkv/plinth/storage"
)

type benchCmd struct {
	Target target `embed:""`
	Config string `help:"Open the store of this configuration file in this process, instead of calling a server." type:"path" short:"c"`

	Workload     string        `help:"Workload: a YCSB letter from A to F, or a mix of read, update, insert, scan and modify, such as read=90,update=10." default:"A"`
	Distribution string        `help:"Distribution of keys: zipfian, uniform or latest. By default, that of the workload." default:""`
	Records      uint64        `help:"Number of items." default:"10000"`
	KeySize      int           `help:"Bytes of a key." default:"24"`
	ValueSize    int           `help:"Bytes of a value." default:"100"`
	Rate         float64       `help:"Operations per second of all callers together (0 = each caller starts an operation when its previous one ends)." default:"0"`
	Callers      int           `help:"Number of callers, each with its own connection." default:"16"`
	Warmup       time.Duration `help:"Warm-up time before measuring." default:"5s"`
	Duration     time.Duration `help:"Duration of the measurement." default:"30s"`
	Prefix       string        `help:"Prefix of the keys. All keys with it are removed before and after the run." default:"bench/"`
	Keep         bool          `help:"Keep the items after the run."`

	JSON    string  `name:"json" help:"Write the result to a file, for --compare." placeholder:"FILE" type:"given"`
	SVG     string  `name:"svg" help:"Write a chart of latencies over time to a file." placeholder:"FILE" type:"given"`
	Compare *string `help:"Only compare two results: --compare BEFORE AFTER, or BEFORE,AFTER." placeholder:"BEFORE"`
	After   string  `arg:"" optional:"" help:"Second result of --compare."`
}

// Help returns the text that "plinth bench --help" adds.
func (*benchCmd) Help() string {
	return `With --rate, a latency counts from the moment when the operation was due, so that the waits of a stalled store are
included. Without it, each caller waits for its previous operation, which hides the stalls of a store. Use a rate to
measure latencies, and no rate to measure the maximum throughput.

Compare only results from the same machine, while it is idle: run "plinth bench --json before.json", make your change, run
"plinth bench --json after.json", then "plinth bench --compare before.json after.json".`
}

func (c *benchCmd) Run(ctx context.Context, e env) error {
	switch {
	case c.Compare != nil:
		return c.compare(e.stdout)
	case c.After != "":
		return usagef("unexpected argument %s: bench accepts files only after --compare", c.After)
	}
	o, err := c.options()
	if err != nil {
		return usagef("%v", err)
	}
	for _, file := range []string{c.JSON, c.SVG} { // before minutes of measuring
		if _, err := os.Stat(filepath.Dir(file)); file != "" && err != nil {
			return fmt.Errorf("%s cannot be written: %w", file, err)
		}
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
		return o, fmt.Errorf("--prefix must not be empty: the run removes every key with the prefix")
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
	p := newProgress(e.stderr, "filled in", 0)
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
			return fmt.Errorf("write items: %w", cause(err))
		}
	}
	err = w.Close(ctx)
	p.leave()
	if err != nil {
		return fmt.Errorf("write items: %w", cause(err))
	}
	return nil
}

// driven adapts a served store to a load.
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
	files := []string{*c.Compare, c.After}
	if c.After == "" {
		files = strings.Split(*c.Compare, ",")
	}
	if len(files) != 2 {
		return usagef("--compare expects two files, not %d: --compare BEFORE AFTER", len(files))
	}
	var results [2]*loadgen.Result
	for i, name := range files {
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
