package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// followed is a store whose changes are followed, by name.
type followed struct {
	name string
	storage.Backend
	close func() error
}

// inMemory returns a memory backend whose changes its hub keeps.
func inMemory() followed {
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	hub := wrappers.NewHub(b)
	hub.KeepChanges(time.Now)
	return followed{"memory", hub.Backend(), func() error { return b.Close(context.Background()) }}
}

// onDisk returns pebble with its own log of changes.
func onDisk(ctx context.Context) (followed, error) {
	dir, err := os.MkdirTemp("", "plinth-bench-")
	if err != nil {
		return followed{}, err
	}
	b, err := pebble.Open(ctx, sdk.Env{Dir: dir, Now: time.Now, Config: []byte(`{"changes":true,"sync":"never"}`)})
	if err != nil {
		return followed{}, err
	}
	return followed{"pebble, not synced", b, func() error { b.Close(context.Background()); return os.RemoveAll(dir) }}, nil
}

// changesTable measures what followers cost, and how soon they know.
func changesTable(ctx context.Context, filter *regexp.Regexp, each time.Duration) error {
	if !filter.MatchString("changes: followers") {
		return nil
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	defer t.Flush()
	disk, err := onDisk(ctx)
	if err != nil {
		return err
	}
	defer disk.close()
	fmt.Fprintln(t, "\nchanges: followers\tsubject\twrites/s\tratio\tgoal")
	for _, s := range []followed{inMemory(), disk} {
		none := 0.0
		for _, n := range []int{0, 1, 100, 1000} {
			rate, err := writesWith(ctx, s, n, 5*each)
			if err != nil {
				return err
			}
			if n == 0 {
				none = rate
			}
			goal := ""
			if n == 1 {
				goal = verdict("≥ 0.9", rate/none >= 0.9)
			}
			fmt.Fprintf(t, "%d\t%s\t%.0f\t%.2f\t%s\n", n, s.name, rate, rate/none, goal)
		}
	}
	fmt.Fprintln(t, "\nchanges: from the answer of a write to a follower\tsubject\tp50\tp99\tgoal of p50")
	for _, s := range []followed{inMemory(), disk} {
		p50, p99, err := delays(ctx, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "1 write at a time\t%s\t%s\t%s\t%s\n", s.name, p50, p99, verdict("< 1ms", p50 < time.Millisecond))
	}
	fmt.Fprintln(t, "\nchanges: idle followers\tsubject\tbytes each\tCPU\tgoal")
	for _, s := range []followed{inMemory(), disk} {
		bytes, cpu, err := idle(ctx, s, 10_000)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "10,000 that wait\t%s\t%d\t%.1f %%\t%s\n", s.name, bytes, 100*cpu, verdict("< 16 KiB", bytes < 16<<10))
	}
	return nil
}

func verdict(goal string, met bool) string {
	if met {
		return goal + " met"
	}
	return goal + " missed"
}

// follow has n follow all changes from now on, until stop is called. each is called with
// every page.
func follow(ctx context.Context, b storage.Backend, n int, each func(storage.ChangePage)) (stop func() error, err error) {
	now, err := b.Changes(ctx, storage.ChangeQuery{FromNow: true})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for range n {
		all.Go(func() {
			for after := now.Next; ; {
				page, err := b.Changes(ctx, storage.ChangeQuery{After: after, Wait: storage.MostWait})
				switch {
				case ctx.Err() != nil:
					return
				case storage.CodeOf(err) == storage.VersionGone: // it was too slow
					page, err = b.Changes(ctx, storage.ChangeQuery{FromNow: true})
				}
				if err != nil && ctx.Err() == nil {
					failed.Store(&err)
					return
				}
				each(page)
				after = page.Next
			}
		})
	}
	return func() error {
		cancel()
		all.Wait()
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}, nil
}

// writesWith returns how many writes a second one writer does while n follow: the most of 3
// runs.
func writesWith(ctx context.Context, s followed, n int, each time.Duration) (most float64, err error) {
	stop, err := follow(ctx, s, n, func(storage.ChangePage) {})
	if err != nil {
		return 0, err
	}
	for range 3 {
		writes, begin := 0, time.Now()
		for ; time.Since(begin) < each; writes++ {
			if err := (backend{s}).set(ctx, keys[writes%keyCount], value); err != nil {
				return 0, err
			}
		}
		most = max(most, float64(writes)/time.Since(begin).Seconds())
	}
	return most, stop()
}

// delays returns how long after its answer a write is in a follower's hands.
func delays(ctx context.Context, s followed) (p50, p99 time.Duration, err error) {
	got := make(chan time.Time, 1)
	stop, err := follow(ctx, s, 1, func(p storage.ChangePage) {
		if len(p.Changes) > 0 {
			got <- time.Now()
		}
	})
	if err != nil {
		return 0, 0, err
	}
	var all []time.Duration
	for i := range 5000 {
		time.Sleep(50 * time.Microsecond) // it waits again
		if err := (backend{s}).set(ctx, keys[i%keyCount], value); err != nil {
			return 0, 0, err
		}
		answered := time.Now()
		all = append(all, max(0, (<-got).Sub(answered)))
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], stop()
}

// idle returns what n idle followers cost: bytes of memory each, and a share of one
// processor for all of them.
func idle(ctx context.Context, s followed, n int) (bytes uint64, cpu float64, err error) {
	before := inUse()
	stop, err := follow(ctx, s, n, func(storage.ChangePage) {})
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second) // all wait
	bytes = (inUse() - before) / uint64(n)
	const watched = 3 * time.Second
	begin := processorTime()
	time.Sleep(watched)
	cpu = (processorTime() - begin).Seconds() / watched.Seconds()
	return bytes, cpu, stop()
}

// inUse returns the memory of heap and stacks.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
