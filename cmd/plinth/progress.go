package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells people how far a long command is: in place on a terminal, else
// as a line now and then.
type progress struct {
	w        io.Writer
	verb     string
	total    int64 // bytes; 0: not known
	terminal bool
	start    time.Time
	last     time.Time
}

// How often progress is shown.
const (
	everyOnTerminal = 100 * time.Millisecond
	everyElsewhere  = 10 * time.Second
)

func newProgress(w io.Writer, verb string, total int64) *progress {
	now := time.Now()
	return &progress{w: w, verb: verb, total: total, terminal: isTerminal(w), start: now, last: now}
}

// at shows that items are done, after reading bytes of the total.
func (p *progress) at(items, bytes int64) {
	now := time.Now()
	every := everyElsewhere
	if p.terminal {
		every = everyOnTerminal
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	p.show(p.text(items, bytes, now.Sub(p.start)), "")
}

// end shows the outcome.
func (p *progress) end(items, bytes int64) {
	taken := time.Since(p.start)
	p.show(fmt.Sprintf("%s %d items in %s (%.0f/s)", p.verb, items, taken.Round(time.Millisecond), rate(items, taken)), "\n")
}

func (p *progress) text(items, bytes int64, taken time.Duration) string {
	s := fmt.Sprintf("%s %d items, %.0f/s", p.verb, items, rate(items, taken))
	if p.total > 0 && bytes > 0 {
		left := time.Duration(float64(taken) * float64(max(p.total-bytes, 0)) / float64(bytes))
		s += fmt.Sprintf(", %d%%, %s left", 100*bytes/p.total, left.Round(time.Second))
	}
	return s
}

func (p *progress) show(text, end string) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s%s", text, end)
		return
	}
	fmt.Fprintln(p.w, text)
}

func rate(n int64, d time.Duration) float64 { return float64(n) / max(d.Seconds(), 1e-9) }
