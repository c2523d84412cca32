package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/plinthkv/plinth/storage"
)

// Target connects to the store under load. Each caller has one of its own.
type Target interface {
	Get(ctx context.Context, key []byte) error
	Put(ctx context.Context, key, value []byte) error
	// Scan reads up to n items from a key on.
	Scan(ctx context.Context, start []byte, n int) error
	// Modify reads a key and replaces its value. It returns a Conflict if the key was
	// written meanwhile.
	Modify(ctx context.Context, key, value []byte) error
}

// Options configure a run.
type Options struct {
	Workload
	Prefix   string        `json:"prefix"`     // what all keys begin with
	Records  uint64        `json:"records"`    // that are there when it begins
	KeySize  int           `json:"key_size"`   // bytes of a key, with the prefix
	Value    int           `json:"value_size"` // bytes of a value
	Rate     float64       `json:"rate"`       // operations per second of all callers; 0 for no limit
	Callers  int           `json:"callers"`
	Warmup   time.Duration `json:"warmup_ns"` // before anything is counted
	Duration time.Duration `json:"duration_ns"`
}

// The bounds of options: what a run takes of this machine.
const (
	MaxRecords = 100_000_000
	MaxCallers = 10_000
	maxValue   = 64 << 20
	minNumber  = 16 // characters of a key that make it unique
)

// Validate returns what is wrong with the options.
func (o *Options) Validate() error {
	switch {
	case len(o.Mix) == 0:
		return errors.New("there is nothing to do: the mix is empty")
	case o.Distribution != Zipfian && o.Distribution != Uniform && o.Distribution != Latest:
		return fmt.Errorf("the distribution is %.40q, it must be %s, %s or %s", o.Distribution, Zipfian, Uniform, Latest)
	case o.Records < 1 || o.Records > MaxRecords:
		return fmt.Errorf("the records are %d, they must be from 1 to %d", o.Records, MaxRecords)
	case o.KeySize < len(o.Prefix)+minNumber || o.KeySize > 1<<16:
		return fmt.Errorf("a key has %d bytes, it must have from %d, with its prefix, to %d", o.KeySize, len(o.Prefix)+minNumber, 1<<16)
	case o.Value < 0 || o.Value > maxValue:
		return fmt.Errorf("a value has %d bytes, it may have %d", o.Value, maxValue)
	case !(o.Rate >= 0 && o.Rate <= 1e9):
		return fmt.Errorf("the rate is %g, it must be from 0 to 1e9", o.Rate)
	case o.Callers < 1 || o.Callers > MaxCallers:
		return fmt.Errorf("the callers are %d, they must be from 1 to %d", o.Callers, MaxCallers)
	case o.Warmup < 0 || o.Duration < time.Second || o.Warmup+o.Duration > 7*24*time.Hour:
		return fmt.Errorf("a run takes %s after %s: from 1s to 168h in all", o.Duration, o.Warmup)
	}
	return nil
}

// Key returns the nth key: a prefix, 16 digits in an order that has nothing to do with n, and as
// many zeros as its size asks for.
func (o *Options) Key(n uint64) []byte {
	b := make([]byte, 0, o.KeySize)
	b = fmt.Appendf(append(b, o.Prefix...), "%016x", scatter(n))
	for len(b) < o.KeySize {
		b = append(b, '0')
	}
	return b
}

// The range of latencies that histograms hold, in ns, with three digits.
const (
	lowest  = 100
	highest = int64(time.Hour)
)

func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, highest, 3) }

// run is one that is under way.
type run struct {
	o        Options
	zipf     *zipf
	begun    time.Time // when the measurement begins
	inserted atomic.Uint64
	ops      map[Op]*measured
	line     timeline
}

// Run generates the load, and calls at after each second. The end of ctx ends the run early;
// the result then covers the time until then.
func Run(ctx context.Context, o Options, targets []Target, at func(Second)) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(targets) != o.Callers {
		return nil, fmt.Errorf("there are %d targets for %d callers", len(targets), o.Callers)
	}
	r := &run{o: o, ops: map[Op]*measured{}, line: timeline{all: histogram(), at: at}}
	if o.Distribution != Uniform {
		r.zipf = newZipf(o.Records)
	}
	for op := range o.Mix {
		r.ops[op] = &measured{all: histogram(), errors: map[string]int64{}}
	}
	r.inserted.Store(o.Records)
	start := time.Now()
	r.begun = start.Add(o.Warmup)
	work, cancel := context.WithDeadline(ctx, r.begun.Add(o.Duration))
	defer cancel()
	calls, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	context.AfterFunc(work, func() { time.AfterFunc(patience, leave) })
	var wg sync.WaitGroup
	for i, t := range targets {
		c := r.caller(i, t)
		wg.Go(func() { c.work(work, calls, start) })
	}
	wg.Go(func() { r.watch(work) })
	wg.Wait()
	return r.result(min(time.Since(r.begun), o.Duration)), nil
}

// watch ends the seconds in which nothing is done.
func (r *run) watch(ctx context.Context) {
	for {
		over := time.Since(r.begun) / time.Second
		r.line.advance(int(max(over, 0)))
		select {
		case <-time.After(time.Until(r.begun.Add((max(over, 0) + 1) * time.Second))):
		case <-ctx.Done():
			return
		}
	}
}

// measured holds what came of the operations of a kind.
type measured struct {
	mu     sync.Mutex
	all    *hdrhistogram.Histogram
	errors map[string]int64
}

func (m *measured) add(took int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.all.RecordValue(took) // it is within the bounds
	if err != nil {
		m.errors[storage.CodeOf(err).Name()]++
	}
}

// timeline is what ended in each second. Only that of the second which goes on is kept in
// full.
type timeline struct {
	mu   sync.Mutex
	all  *hdrhistogram.Histogram
	bad  int64
	done []Second
	at   func(Second)
}

func (t *timeline) add(second int, took int64, bad bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advanceLocked(second)
	_ = t.all.RecordValue(took)
	if bad {
		t.bad++
	}
}

// advance ends the seconds before one.
func (t *timeline) advance(second int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advanceLocked(second)
}

func (t *timeline) advanceLocked(second int) {
	for len(t.done) < second {
		s := Second{len(t.done), t.all.TotalCount(), t.bad, t.all.ValueAtQuantile(50), t.all.ValueAtQuantile(99), t.all.Max()}
		t.done = append(t.done, s)
		t.all.Reset()
		t.bad = 0
		if t.at != nil {
			t.at(s)
		}
	}
}

// caller is one that waits for its operations.
type caller struct {
	*run
	target Target
	r      *rand.Rand
	choose *chooser
	value  []byte
	every  time.Duration // between two operations that are due; 0 for no pause
	first  time.Duration
}

func (r *run) caller(i int, t Target) *caller {
	seeded := rand.New(rand.NewPCG(uint64(i), 0x9e3779b97f4a7c15))
	c := &caller{run: r, target: t, r: seeded, choose: newChooser(seeded, r.o.Mix), value: make([]byte, r.o.Value)}
	for j := range c.value {
		c.value[j] = byte(' ' + seeded.IntN(95))
	}
	if r.o.Rate > 0 {
		c.every = time.Duration(float64(r.o.Callers) / r.o.Rate * float64(time.Second))
		c.first = c.every * time.Duration(i) / time.Duration(r.o.Callers)
	}
	return c
}

// patience limits how long operations may still take that go on when a run ends.
const patience = 10 * time.Second

// work does operations until ctx ends; calls is their context. With a rate each counts from
// when it was due.
func (c *caller) work(ctx, calls context.Context, start time.Time) {
	due := start.Add(c.first)
	for ctx.Err() == nil {
		if c.every > 0 {
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return
				}
			}
		} else {
			due = time.Now()
		}
		op := c.choose.next()
		err := c.do(calls, op)
		if calls.Err() != nil {
			return // it was cut off, which says nothing
		}
		c.record(op, due, time.Now(), err)
		due = due.Add(c.every)
	}
}

func (c *caller) do(ctx context.Context, op Op) error {
	switch op {
	case Read:
		return c.target.Get(ctx, c.key())
	case Update:
		return c.target.Put(ctx, c.key(), c.value)
	case Insert:
		return c.target.Put(ctx, c.o.Key(c.inserted.Add(1)-1), c.value)
	case Scan:
		return c.target.Scan(ctx, c.key(), 1+c.r.IntN(100))
	}
	return c.target.Modify(ctx, c.key(), c.value)
}

// key returns one of those that are there, by the distribution.
func (c *caller) key() []byte {
	switch c.o.Distribution {
	case Uniform:
		return c.o.Key(c.r.Uint64N(c.o.Records))
	case Latest:
		there := c.inserted.Load()
		there -= min(there-1, uint64(c.o.Callers)) // those that are being inserted may not be there yet
		return c.o.Key(there - 1 - c.zipf.next(c.r)%there)
	}
	return c.o.Key(c.zipf.next(c.r))
}

func (c *caller) record(op Op, due, now time.Time, err error) {
	if now.Before(c.begun) {
		return
	}
	took := min(max(int64(now.Sub(due)), lowest), highest)
	c.ops[op].add(took, err)
	c.line.add(int(now.Sub(c.begun)/time.Second), took, err != nil)
}
