package loadgen

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// The picture's size, and the place in it of the curves.
const (
	width, height = 900, 420
	left, right   = 70, 20
	top, bottom   = 50, 50
)

// WriteSVG draws p50, p99 and the longest latency of each second, on a logarithmic axis.
func (r *Result) WriteSVG(w io.Writer) error {
	if len(r.Seconds) == 0 {
		return fmt.Errorf("the run has no whole second to draw")
	}
	low, high := math.MaxFloat64, 1.0
	for _, s := range r.Seconds {
		if s.Count > 0 {
			low, high = min(low, float64(s.P50)), max(high, float64(s.Max))
		}
	}
	low = math.Pow(10, math.Floor(math.Log10(min(max(low, 1), high))))
	high = math.Pow(10, math.Ceil(math.Log10(max(high, low*10))))
	x := func(i int) float64 {
		return left + float64(width-left-right)*float64(i)/float64(max(len(r.Seconds)-1, 1))
	}
	y := func(ns int64) float64 {
		at := math.Log10(max(float64(ns), low)/low) / math.Log10(high/low)
		return top + float64(height-top-bottom)*(1-at)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15">Latency over time: %s, %d callers, %.0f/s</text>`+"\n", left, r.Options.Workload, r.Options.Callers, r.rate())
	for ns := low; ns <= high*1.0001; ns *= 10 {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%[3]f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, width-right, y(int64(ns)), left-6, y(int64(ns))+4, short(int64(ns)))
	}
	for _, i := range ticks(len(r.Seconds)) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(i), height-bottom+18, i)
	}
	for n, c := range []struct {
		name, color string
		of          func(Second) int64
	}{
		{"longest", "#c33", func(s Second) int64 { return s.Max }},
		{"p99", "#e90", func(s Second) int64 { return s.P99 }},
		{"p50", "#07c", func(s Second) int64 { return s.P50 }},
	} {
		var points []string
		for i, s := range r.Seconds {
			if s.Count > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(c.of(s))))
			}
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>`+"\n", c.color, strings.Join(points, " "))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="3" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			left+n*100, height-14, c.color, left+18+n*100, height-8, c.name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// ticks returns at most eleven places of n.
func ticks(n int) (at []int) {
	step := max(1, (n+9)/10)
	for i := 0; i < n; i += step {
		at = append(at, i)
	}
	return at
}
