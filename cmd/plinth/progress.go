package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// progress shows how far a long command is, in place on a terminal. Elsewhere it shows only the
// outcome.
type progress struct {
	w        io.Writer
	verb     string
	total    int64 // bytes; 0 if unknown
	before   int64 // items of earlier runs of the same job
	terminal bool
	begun    bool         // a line on the terminal has no end yet
	counted  atomic.Int64 // the total, once it is known, where there is none of bytes
	start    time.Time
	last     time.Time
}

// everyOnTerminal is how often progress is shown.
const everyOnTerminal = 100 * time.Millisecond

func newProgress(w io.Writer, verb string, total int64) *progress {
	now := time.Now()
	return &progress{w: w, verb: verb, total: total, terminal: isTerminal(w), start: now, last: now}
}

// count counts the items of a range concurrently with the work, if progress is shown: the
// remaining time depends on it. The caller must call stop, which waits.
func (p *progress) count(ctx context.Context, s served, b bounds) (stop func()) {
	if !p.terminal {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var n int64
		err := s.scan(ctx, scanQuery{bounds: b, keysOnly: true}, func(line) error { n++; return nil })
		if err == nil {
			p.counted.Store(n)
		}
	}()
	return func() { cancel(); <-done }
}

// at shows that items are done, after reading bytes of the total.
func (p *progress) at(items, bytes int64) {
	now := time.Now()
	if !p.terminal || now.Sub(p.last) < everyOnTerminal {
		return
	}
	p.last = now
	p.show(p.text(items, bytes, now.Sub(p.start)), "")
}

// end shows the outcome: of this run, and of the earlier ones with it.
func (p *progress) end(items, bytes int64) {
	taken := time.Since(p.start)
	text := fmt.Sprintf("%s %d items in %s (%.0f/s)", p.verb, items, taken.Round(time.Millisecond), rate(items, taken))
	if p.before > 0 {
		text += fmt.Sprintf("; %d items in all, including those of earlier runs", p.before+items)
	}
	p.show(text, "\n")
}

func (p *progress) text(items, bytes int64, taken time.Duration) string {
	s := fmt.Sprintf("%s %d items, %.0f/s", p.verb, items, rate(items, taken))
	if total := max(p.total, p.counted.Load()); total > 0 && bytes > 0 {
		left := time.Duration(float64(taken) * float64(max(total-bytes, 0)) / float64(bytes))
		s += fmt.Sprintf(", %d%%, %s left", min(100*bytes/total, 100), left.Round(time.Second))
	}
	return s
}

// leave ends the line that is shown, if it has no end: an error follows.
func (p *progress) leave() {
	if p.begun {
		fmt.Fprintln(p.w)
	}
}

func (p *progress) show(text, end string) {
	p.begun = p.terminal && end == ""
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s%s", text, end)
		return
	}
	fmt.Fprintln(p.w, text)
}

func rate(n int64, d time.Duration) float64 { return float64(n) / max(d.Seconds(), 1e-9) }
