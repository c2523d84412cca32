package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory/module"
)

// The goal for the 99th percentile of gets while the configuration is reloaded once a
// second, next to that without.
const reloadGoal = 1.2

// reloadTime says how long gets are measured, each way.
const reloadTime = 8 * time.Second

// reloadTable measures how long a reload takes, and what callers notice of it.
func reloadTable(ctx context.Context) error {
	pipelines := []string{"[instrument, size_limits, cache]", "[instrument, size_limits: { value: 1MiB }, cache]"}
	yaml := func(n int, memory string) []byte {
		return fmt.Appendf(nil, "stores: { a: { backend: { plugin: memory, on_swap: transfer, config: { max_bytes: %s } }, pipeline: %s } }", memory, pipelines[n%2])
	}
	opts := func(content []byte) []plinth.Option {
		return []plinth.Option{plinth.WithModule("memory", module.Wasm), plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent(content)}
	}
	h, err := plinth.Open(ctx, "", opts(yaml(0, "64MiB"))...)
	if err != nil {
		return err
	}
	defer h.Close(ctx)
	s, err := h.Store("a")
	if err != nil {
		return err
	}
	const keys = 10_000
	for n := range keys {
		if err := s.Set(ctx, fmt.Appendf(nil, "key-%06d", n), make([]byte, 64)); err != nil {
			return err
		}
	}
	reload := func(n int, memory string) (time.Duration, error) {
		cfg, err := plinth.Load("", opts(yaml(n, memory))...)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		_, err = h.Reload(ctx, cfg)
		return time.Since(start), err
	}
	var pipeline, backend []time.Duration
	for n := range 101 {
		took, err := reload(n, "64MiB")
		if err != nil {
			return err
		}
		pipeline = append(pipeline, took)
	}
	for n := range 11 {
		took, err := reload(0, []string{"65MiB", "64MiB"}[n%2])
		if err != nil {
			return err
		}
		backend = append(backend, took)
	}
	fmt.Printf("\nreload of a pipeline %v, of a backend with the transfer of %d items %v (medians)\n", median(pipeline).Round(time.Microsecond), keys, median(backend).Round(10*time.Microsecond))

	measure := func(reloads bool) (time.Duration, error) {
		var stop atomic.Bool
		var wg sync.WaitGroup
		took := make([][]time.Duration, 4)
		for c := range took {
			wg.Go(func() {
				for n := 0; !stop.Load(); n++ {
					start := time.Now()
					if _, err := s.Get(ctx, fmt.Appendf(nil, "key-%06d", (n*7919+c)%keys)); err != nil {
						fatal(err)
					}
					took[c] = append(took[c], time.Since(start))
				}
			})
		}
		var err error
		for n, end := 0, time.Now().Add(reloadTime); time.Now().Before(end) && err == nil; n++ {
			time.Sleep(time.Second)
			if reloads {
				_, err = reload(n, "64MiB")
			}
		}
		stop.Store(true)
		wg.Wait()
		all := slices.Concat(took...)
		slices.Sort(all)
		return all[len(all)*99/100], err
	}
	without, err := measure(false)
	if err != nil {
		return err
	}
	with, err := measure(true)
	if err != nil {
		return err
	}
	mark := "met"
	if float64(with) > reloadGoal*float64(without) {
		mark = "missed"
	}
	fmt.Printf("p99 of gets %v, with a reload each second %v: %.2f (goal ≤ %.1f %s)\n", without, with, float64(with)/float64(without), reloadGoal, mark)
	return nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
