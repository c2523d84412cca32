package loadgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Second counts what ended in one second of a run.
type Second struct {
	At     int   `json:"at"` // seconds since the measurement began
	Count  int64 `json:"count"`
	Errors int64 `json:"errors"`
	P50    int64 `json:"p50_ns"`
	P99    int64 `json:"p99_ns"`
	Max    int64 `json:"max_ns"`
}

// Result has the figures of a run.
type Result struct {
	Format  int           `json:"format"` // 1
	Options Options       `json:"options"`
	Took    time.Duration `json:"took_ns"`
	Count   int64         `json:"count"` // operations, those that failed included
	Errors  int64         `json:"errors"`
	Ops     []OpResult    `json:"ops"`
	Seconds []Second      `json:"seconds"` // the whole ones
}

// OpResult has the figures of one kind of operation.
type OpResult struct {
	Op     Op               `json:"op"`
	Count  int64            `json:"count"`
	Errors map[string]int64 `json:"errors,omitempty"` // by their codes
	Mean   float64          `json:"mean_ns"`
	Max    int64            `json:"max_ns"`
	// Percentiles lists latencies in ns, of the percentiles of percentiles, in their order.
	Percentiles []int64 `json:"percentiles_ns"`
	// Histogram holds all latencies, as HdrHistogram encodes them (V2, compressed, base64).
	Histogram []byte `json:"histogram"`
}

// percentiles are those of reports.
var percentiles = []float64{50, 90, 95, 99, 99.9, 99.99}

// format is that of results.
const format = 1

// result returns the figures of a run that took so long.
func (r *run) result(took time.Duration) *Result {
	r.line.advance(int(took / time.Second))
	res := &Result{Format: format, Options: r.o, Took: took, Seconds: r.line.done}
	for _, op := range ops {
		m := r.ops[op]
		if m == nil {
			continue
		}
		o := OpResult{Op: op, Count: m.all.TotalCount(), Errors: m.errors, Mean: m.all.Mean(), Max: m.all.Max()}
		for _, p := range percentiles {
			o.Percentiles = append(o.Percentiles, m.all.ValueAtQuantile(p))
		}
		o.Histogram, _ = m.all.EncodeV2() // fails for none of ours
		for _, n := range m.errors {
			res.Errors += n
		}
		res.Count += o.Count
		res.Ops = append(res.Ops, o)
	}
	return res
}

// maxResult limits the results that are read.
const maxResult = 256 << 20

// ReadResult reads a result that was written as JSON.
func ReadResult(r io.Reader) (*Result, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxResult+1))
	if err != nil {
		return nil, err
	}
	var res Result
	switch err := json.NewDecoder(bytes.NewReader(raw)).Decode(&res); {
	case len(raw) > maxResult:
		return nil, fmt.Errorf("it is larger than %d bytes", maxResult)
	case err != nil:
		return nil, fmt.Errorf("it is no result of a run: %w", err)
	case res.Format != format:
		return nil, fmt.Errorf("it has the format %d, this program reads %d", res.Format, format)
	}
	for _, o := range res.Ops {
		if len(o.Percentiles) != len(percentiles) {
			return nil, fmt.Errorf("it is no result of a run: %q has %d percentiles", o.Op, len(o.Percentiles))
		}
	}
	return &res, nil
}

// Write writes a table for people.
func (r *Result) Write(w io.Writer) error {
	fmt.Fprintf(w, "%d operations in %s: %.0f/s, %d errors\n", r.Count, r.Took.Round(time.Millisecond), r.rate(), r.Errors)
	if o := r.Options; o.Rate > 0 {
		fmt.Fprintf(w, "Latencies count from when an operation was due, at %.0f/s in all.\n", o.Rate)
	} else {
		fmt.Fprintf(w, "Latencies are those of %d callers who each wait for one operation before the next.\n", o.Callers)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\n\tcount\terrors\tmean\t")
	for _, p := range percentiles {
		fmt.Fprintf(t, "p%g\t", p)
	}
	fmt.Fprint(t, "max\t\n")
	for _, o := range r.Ops {
		bad := int64(0)
		for _, n := range o.Errors {
			bad += n
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t", o.Op, o.Count, bad, short(int64(o.Mean)))
		for _, p := range o.Percentiles {
			fmt.Fprintf(t, "%s\t", short(p))
		}
		fmt.Fprintf(t, "%s\t\n", short(o.Max))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range r.Ops {
		for _, code := range sorted(o.Errors) {
			fmt.Fprintf(w, "%s: %d times %s\n", o.Op, o.Errors[code], code)
		}
	}
	return nil
}

func (r *Result) rate() float64 { return float64(r.Count) / max(r.Took.Seconds(), 1e-9) }

func sorted(m map[string]int64) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// short returns a latency with three digits.
func short(ns int64) string {
	switch d := time.Duration(ns); {
	case d < time.Microsecond:
		return fmt.Sprintf("%dns", ns)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(ns)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(ns)/1e6)
	}
	return fmt.Sprintf("%.3gs", float64(ns)/1e9)
}
