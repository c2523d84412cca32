package loadgen

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// fake is a target that counts, and stops on request.
type fake struct {
	mu    sync.Mutex
	made  map[Op]int
	keys  map[string]int
	stop  time.Time // no call ends before
	fails int       // how many calls fail first
}

func (f *fake) call(op Op, key []byte) error {
	f.mu.Lock()
	f.made[op]++
	f.keys[string(key)]++
	wait, fail := time.Until(f.stop), f.fails > 0
	f.fails--
	f.mu.Unlock()
	time.Sleep(max(wait, 20*time.Microsecond))
	if fail {
		return storage.Unavailable
	}
	return nil
}

func (f *fake) Get(_ context.Context, key []byte) error        { return f.call(Read, key) }
func (f *fake) Put(_ context.Context, key, value []byte) error { return f.call(Update, key) }
func (f *fake) Scan(_ context.Context, k []byte, n int) error  { return f.call(Scan, k) }
func (f *fake) Modify(_ context.Context, key, v []byte) error  { return f.call(Modify, key) }

func options(change func(*Options)) Options {
	o := Options{Workload: YCSB["a"], Prefix: "p/", Records: 1000, KeySize: 20, Value: 10, Callers: 4, Duration: time.Second}
	if change != nil {
		change(&o)
	}
	return o
}

func ran(t *testing.T, o Options, f *fake) *Result {
	t.Helper()
	f.made, f.keys = map[Op]int{}, map[string]int{}
	targets := make([]Target, o.Callers)
	for i := range targets {
		targets[i] = f
	}
	r, err := Run(t.Context(), o, targets, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A store that stops for a while is charged for everything that was due meanwhile, not only
// for the calls that hung.
func TestCoordinatedOmission(t *testing.T) {
	f := &fake{stop: time.Now().Add(500 * time.Millisecond)}
	r := ran(t, options(func(o *Options) { o.Rate, o.Workload, o.Duration = 400, YCSB["c"], 2*time.Second }), f)
	late := r.Ops[0]
	if late.Count < 600 || late.Count > 820 {
		t.Errorf("%d operations at 400/s in 2 s", late.Count)
	}
	// Of 800 operations 200 were due in the half second: those of its first half waited for
	// more than a quarter of one.
	if p90 := time.Duration(late.Percentiles[1]); p90 < 200*time.Millisecond {
		t.Errorf("p90 is %s: what was due while the store stopped is forgotten", p90)
	}
}

// The mix is what was asked for, keys are there and of their size, and what fails is counted
// by its code.
func TestMix(t *testing.T) {
	f := &fake{fails: 7}
	r := ran(t, options(func(o *Options) {
		o.Workload = Workload{map[Op]int{Read: 60, Update: 20, Scan: 10, Modify: 10}, Zipfian}
	}), f)
	total := 0
	for _, n := range f.made {
		total += n
	}
	for op, share := range map[Op]int{Read: 60, Update: 20, Scan: 10, Modify: 10} {
		if got := 100 * f.made[op] / total; got < share-5 || got > share+5 {
			t.Errorf("%s is %d %% of %d calls, want %d", op, got, total, share)
		}
	}
	if r.Errors != 7 || r.Count < int64(total)-4 {
		t.Errorf("%d errors, %d of %d counted", r.Errors, r.Count, total)
	}
	o, there := r.Options, map[string]bool{}
	for n := range o.Records {
		there[string(o.Key(n))] = true
	}
	most := 0
	for key, n := range f.keys {
		if !there[key] || len(key) != 20 {
			t.Fatalf("the key %q is not one of the records", key)
		}
		most = max(most, n)
	}
	if most < total/50 {
		t.Errorf("the most asked key has %d of %d calls: that is not zipfian", most, total)
	}
}

// Keys of inserts were not there before, and latest ones are asked for most.
func TestInserts(t *testing.T) {
	f := &fake{}
	ran(t, options(func(o *Options) { o.Workload = YCSB["d"] }), f)
	o := options(nil)
	inserted := 0
	for n := o.Records; f.keys[string(o.Key(n))] > 0; n++ {
		inserted++
	}
	if inserted < 10 {
		t.Errorf("%d keys were inserted", inserted)
	}
}

func TestZipfian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []uint64{1, 2, 3, 1000, 100_000} {
		z, first := newZipf(n), 0
		for range 10_000 {
			v := z.next(r)
			if v >= n {
				t.Fatalf("%d of %d", v, n)
			}
			if v == 0 {
				first++
			}
		}
		if want := 10_000 / z.zetan; float64(first) < want*0.8 || float64(first) > want*1.2 {
			t.Errorf("of %d keys the first was chosen %d times, want about %.0f", n, first, want)
		}
	}
}

func TestParseWorkload(t *testing.T) {
	for text, want := range map[string]string{"A": "read=50,update=50", "e": "insert=5,scan=95", "update=1,read=3": "read=3,update=1"} {
		if w, err := ParseWorkload(text); err != nil || w.String() != want {
			t.Errorf("%s: %s, %v", text, w, err)
		}
	}
	for _, text := range []string{"", "g", "read", "read=0", "read=-1", "read=x", "write=1", "read=1,read=2", "read=1,", strings.Repeat("x", 1<<20)} {
		if w, err := ParseWorkload(text); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.20s: %s, %.100v", text, w, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"nothing to do":  func(o *Options) { o.Mix = nil },
		"a distribution": func(o *Options) { o.Distribution = "normal" },
		"no records":     func(o *Options) { o.Records = 0 },
		"many records":   func(o *Options) { o.Records = 1 << 60 },
		"a short key":    func(o *Options) { o.KeySize = 17 },
		"a long value":   func(o *Options) { o.Value = 1 << 40 },
		"a rate below 0": func(o *Options) { o.Rate = -1 },
		"no callers":     func(o *Options) { o.Callers = 0 },
		"many callers":   func(o *Options) { o.Callers = 1 << 30 },
		"a short run":    func(o *Options) { o.Duration = time.Millisecond },
		"an endless run": func(o *Options) { o.Duration = 1 << 62 },
	} {
		o := options(change)
		if _, err := Run(t.Context(), o, make([]Target, max(0, min(o.Callers, 4))), nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A run that is ended early has what was measured until then.
func TestEndedEarly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	f := &fake{made: map[Op]int{}, keys: map[string]int{}}
	r, err := Run(ctx, options(func(o *Options) { o.Duration, o.Callers = time.Hour, 1 }), []Target{f}, nil)
	if err != nil || r.Count == 0 || r.Took > time.Minute {
		t.Errorf("%+v, %v", r, err)
	}
}

// result is a run of seconds whose latencies are near a number.
func result(ns int64, seconds int) *Result {
	r := &Result{Format: format, Options: options(nil), Took: time.Duration(seconds) * time.Second, Count: int64(1000 * seconds)}
	noise := rand.New(rand.NewPCG(uint64(ns), 1))
	for i := range seconds {
		r.Seconds = append(r.Seconds, Second{At: i, Count: 1000 + noise.Int64N(50), P50: ns + noise.Int64N(ns/5), P99: 3*ns + noise.Int64N(ns), Max: 9*ns + noise.Int64N(ns)})
	}
	return r
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		after *Result
		want  []string
	}{
		"slower": {result(2_000_000, 30), []string{"p50", "+9", "operations/s", "noise"}},
		"same":   {result(1_000_001, 30), []string{"p50", "noise"}},
	} {
		var b strings.Builder
		if err := Compare(&b, result(1_000_000, 30), c.after); err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", name, w, &b)
			}
		}
	}
	if err := Compare(io.Discard, result(1000, 2), result(1000, 30)); err == nil {
		t.Error("two seconds are compared")
	}
}

// What is written is read again, drawn as XML, and shown.
func TestForms(t *testing.T) {
	r := ran(t, options(func(o *Options) { o.Workload = YCSB["f"] }), &fake{fails: 1})
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadResult(bytes.NewReader(raw))
	if err != nil || fmt.Sprint(again) != fmt.Sprint(r) {
		t.Errorf("it comes back as %v, %v", again, err)
	}
	var table, picture strings.Builder
	if err := errors.Join(r.Write(&table), r.WriteSVG(&picture)); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"p99.99", "modify", "unavailable", "callers who each wait"} {
		if !strings.Contains(table.String(), w) {
			t.Errorf("no %q in\n%s", w, &table)
		}
	}
	dec := xml.NewDecoder(strings.NewReader(picture.String()))
	for {
		if _, err := dec.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, &picture)
		}
	}
	for _, bad := range []string{"", "{}", `{"format":2}`, "[]", `{"format":1,"ops":[{"op":"read"}]}`} {
		if _, err := ReadResult(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is a result", bad)
		}
	}
}
