package loadgen

import (
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// Compare writes how a run differs from another: operations per second, and the latencies of
// seconds. A difference is more than noise where seconds as different as these would come
// about by chance in less than one of a hundred runs (the Mann-Whitney U-test of the seconds,
// which takes them for independent of each other).
func Compare(w io.Writer, before, after *Result) error {
	if len(before.Seconds) < 5 || len(after.Seconds) < 5 {
		return fmt.Errorf("a comparison takes runs of at least 5 seconds: these have %d and %d", len(before.Seconds), len(after.Seconds))
	}
	if a, b := before.Options, after.Options; fmt.Sprint(a) != fmt.Sprint(b) {
		fmt.Fprintf(w, "These are different runs: %s with %d callers and %d records, and %s with %d and %d.\n\n",
			a.Workload, a.Callers, a.Records, b.Workload, b.Callers, b.Records)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tbefore\tafter\tdifference\t\n")
	for _, row := range []struct {
		name string
		of   func(Second) float64
		show func(float64) string
	}{
		{"operations/s", func(s Second) float64 { return float64(s.Count) }, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
		{"p50", func(s Second) float64 { return float64(s.P50) }, latency},
		{"p99", func(s Second) float64 { return float64(s.P99) }, latency},
		{"max", func(s Second) float64 { return float64(s.Max) }, latency},
		{"errors/s", func(s Second) float64 { return float64(s.Errors) }, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
	} {
		a, b := sample(before, row.of), sample(after, row.of)
		m, n := benchmath.AssumeNothing.Summary(a, 0.95).Center, benchmath.AssumeNothing.Summary(b, 0.95).Center
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", row.name, row.show(m), row.show(n), difference(m, n, benchmath.AssumeNothing.Compare(a, b).P))
	}
	return t.Flush()
}

func latency(ns float64) string { return short(int64(ns)) }

func sample(r *Result, of func(Second) float64) *benchmath.Sample {
	values := make([]float64, len(r.Seconds))
	for i, s := range r.Seconds {
		values[i] = of(s)
	}
	return benchmath.NewSample(values, &benchmath.DefaultThresholds)
}

// alpha is how likely noise may be where a difference counts.
const alpha = 0.01

func difference(before, after, p float64) string {
	switch {
	case before == after:
		return "none"
	case p > alpha:
		return fmt.Sprintf("noise (p=%.2g)", p)
	case before == 0:
		return fmt.Sprintf("more (p=%.2g)", p)
	}
	return fmt.Sprintf("%+.1f%% (p=%.2g)", 100*(after/before-1), p)
}
