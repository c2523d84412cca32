package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/storage"
)

// measured holds what one subject took for one work.
type measured struct {
	ns, hostCPU, otherCPU, allocs float64 // for each call
	p99                           time.Duration
}

// processTable measures calls to other processes, and prints them next to the floor:
// for this, what both processes did counts, and how long the slowest took.
func processTable(ctx context.Context, filter *regexp.Regexp, rounds int, each time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "plinth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o, err := startOthers(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.end()) }()
	endBurning := func() {}
	defer func() { endBurning() }()
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\t\t\t\t\t\t\t\t")
	fmt.Fprintln(t, "work in another process\tsubject\tns\tratio\tgoal\tallocs\tCPU here\tCPU there\tp99")
	for _, w := range []struct {
		name    string
		callers int
		many    bool
		goal    float64
		busy    bool // two other processes burn the processors
	}{{"get, 1 caller", 1, false, 0.4, false}, {"get, 1 caller, processors busy", 1, false, 0.8, true}, {"get, 64 callers", mostCallers, false, 0.32, false},
		{"GetMany of 256, 1 caller", 1, true, 0, false}, {"GetMany of 256, 64 callers", mostCallers, true, 0, false}} {
		if !filter.MatchString(w.name) {
			continue
		}
		if w.busy {
			stop, err := burn()
			if err != nil {
				return err
			}
			endBurning = stop
		}
		best := map[*other]*measured{}
		for range rounds {
			for _, s := range o.list {
				if w.many && s.many == nil {
					continue
				}
				m, err := measure(ctx, s, w.callers, w.many, each)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, s.name, err)
				}
				if best[s] == nil || m.ns < best[s].ns {
					best[s] = m
				}
			}
		}
		var floor float64
		for i, s := range o.list {
			m := best[s]
			if m == nil {
				continue
			}
			if floor == 0 {
				floor = m.ns
			}
			goal := ""
			if w.goal > 0 && i == 1 {
				goal = fmt.Sprintf("≤ %.4g %s", w.goal, metOr(m.ns/floor <= w.goal && m.allocs < 1.5))
			}
			fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%s\t%.1f\t%.0f\t%.0f\t%v\n", w.name, s.name, m.ns, m.ns/floor, goal, m.allocs, m.hostCPU, m.otherCPU, m.p99.Round(100*time.Nanosecond))
		}
		endBurning()
		fmt.Fprintln(t, "\t\t\t\t\t\t\t\t")
	}
	t.Flush()
	return lifeTimes(ctx)
}

// burn starts a process for each processor that uses all of it, until stop is called.
func burn() (stop func(), err error) {
	var all []*exec.Cmd
	stop = sync.OnceFunc(func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		}
	})
	self, err := os.Executable()
	if err != nil {
		return stop, err
	}
	for range runtime.NumCPU() {
		c := exec.Command(self)
		c.Env = append(os.Environ(), asChild+"=burn", "GOMAXPROCS=1")
		if err := c.Start(); err != nil {
			stop()
			return stop, err
		}
		all = append(all, c)
	}
	return stop, nil
}

func metOr(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// measure has callers ask s for some time.
func measure(ctx context.Context, s *other, callers int, many bool, each time.Duration) (*measured, error) {
	var failed atomic.Pointer[error]
	run := func(long time.Duration, times [][]time.Duration) (n int64) {
		var calls atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(long)
		for i := range callers {
			wg.Go(func() {
				mine := int64(0)
				for at := i * 131; ; at++ {
					start := time.Now()
					if mine%8 == 0 && start.After(end) {
						break
					}
					if err := ask(ctx, s, i, at, many); err != nil {
						why := err // which is put on the heap, once
						failed.Store(&why)
						break
					}
					if mine++; times != nil {
						times[i] = append(times[i], time.Since(start))
					}
				}
				calls.Add(mine)
			})
		}
		wg.Wait()
		return calls.Load()
	}
	run(each/4, nil) // warm
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	here, there, start := cpuHere(), cpuOf(s.pid), time.Now()
	n := run(each, nil)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	per := func(d time.Duration) float64 { return float64(d) / float64(n) }
	m := &measured{ns: per(took), hostCPU: per(cpuHere() - here), otherCPU: per(cpuOf(s.pid) - there), allocs: float64(after.Mallocs-before.Mallocs) / float64(n)}
	times := make([][]time.Duration, callers)
	run(each/2, times)
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) > 0 {
		m.p99 = all[len(all)*99/100]
	}
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return m, nil
}

func ask(ctx context.Context, s *other, caller, at int, many bool) error {
	if many {
		from := at % (keyCount - manyKeys)
		n, err := s.many(ctx, keys[from:from+manyKeys])
		if err == nil && n != manyKeys {
			err = fmt.Errorf("%d of %d", n, manyKeys)
		}
		return err
	}
	n, err := s.get(ctx, caller, keys[at%keyCount])
	if err == nil && n != len(value) {
		err = fmt.Errorf("%d bytes", n)
	}
	return err
}

// cpuHere returns the processor time that this process has taken.
func cpuHere() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf returns that of another, in steps of a clock tick.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var ticks int64
	for i, f := range strings.Fields(rest) {
		if i == 11 || i == 12 {
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// lifeTimes measures how long a process plugin takes to start, how long its end takes to be
// heard of, and to be made good: the least and the median of some.
func lifeTimes(ctx context.Context) error {
	const times = 9
	var first, firstPlain, heard, again []time.Duration
	for range times {
		for _, plaintext := range []bool{false, true} {
			start := time.Now()
			b, err := memoryProcess(ctx, func(o *procs.Options) { o.Plaintext, o.RestartEmpty = plaintext, true })
			if err != nil {
				return err
			}
			if _, err := b.Get(ctx, keys[0]); err == nil {
				return errors.New("a new plugin holds something")
			}
			if took := time.Since(start); plaintext {
				firstPlain = append(firstPlain, took)
			} else {
				first = append(first, took)
				h, a, err := killed(ctx, b)
				if err != nil {
					return err
				}
				heard, again = append(heard, h), append(again, a)
			}
			if err := b.Close(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Println()
	for _, l := range []struct {
		what string
		all  []time.Duration
	}{{"start to the first answer, AutoMTLS", first}, {"start to the first answer, tls: off", firstPlain},
		{"kill -9 to the caller's error", heard}, {"kill -9 to the next answer, AutoMTLS", again}} {
		slices.Sort(l.all)
		fmt.Printf("process plugin, %s: %v at least, %v in the median of %d\n", l.what, l.all[0].Round(10*time.Microsecond), l.all[len(l.all)/2].Round(10*time.Microsecond), len(l.all))
	}
	return nil
}

// killed kills the plugin under a caller and says when that hears of it, and when
// it is answered again.
func killed(ctx context.Context, b *procs.Backend) (heard, again time.Duration, err error) {
	hears := make(chan time.Time, 1)
	go func() {
		for {
			if _, err := b.Get(ctx, keys[0]); err != nil && !isNotFound(err) {
				hears <- time.Now()
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	if err := syscall.Kill(b.PID(), syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	heard = (<-hears).Sub(start)
	for {
		if _, err := b.Get(ctx, keys[0]); isNotFound(err) {
			return heard, time.Since(start), nil
		}
	}
}

func isNotFound(err error) bool { return errors.Is(err, storage.ErrNotFound) }
