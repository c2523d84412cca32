package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// mostDifferences limits how many differences are printed.
const mostDifferences = 10

// comparison walks two stores in order.
type comparison struct {
	a, b  *side
	step  time.Duration // precision of expiries; 0 if they are not compared
	print func(format string, args ...any)
	found int
}

// compare prints the first differences of a range, and is an error if there are any.
func compare(ctx context.Context, a, b *side, in bounds, withoutTTL bool, e env) error {
	c := &comparison{a: a, b: b, print: func(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }}
	if told := a.about.Caps & b.about.Caps; told.Has(storage.CapExpiryOnRead) && !withoutTTL {
		c.step = max(a.about.Limits.TTLPrecision, b.about.Limits.TTLPrecision, time.Millisecond)
	}
	p := newProgress(e.stderr, "compared", 0)
	defer p.leave()
	defer p.count(ctx, a, in)()
	n, err := c.walk(reader{ctx, a, in}, reader{ctx, b, in}, p)
	switch {
	case err != nil:
		return err
	case c.found >= mostDifferences:
		return fmt.Errorf("at least %s in the first %s", counted(c.found, "difference"), counted(n, "item"))
	case c.found > 0:
		return fmt.Errorf("%s in %s", counted(c.found, "difference"), counted(n, "item"))
	}
	p.end(n, n)
	return nil
}

// counted returns a number with its noun: "1 item", "2 items".
func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// reader is a range to read.
type reader struct {
	ctx context.Context
	*side
	in bounds
}

// cursor reads one item after the other.
type cursor struct {
	op   storage.Op
	more bool
	next func() (storage.Op, error, bool)
	side *side
}

func (r reader) cursor() (c *cursor, stop func()) {
	c = &cursor{side: r.side}
	c.next, stop = iter.Pull2(pages(r.ctx, r.side, r.in, nil))
	return c, stop
}

func (c *cursor) advance() (err error) {
	if c.op, err, c.more = c.next(); err != nil {
		return fmt.Errorf("read %s: %w", c.side, err)
	}
	return nil
}

// walk compares until there are differences enough. It returns how many items it has seen.
func (c *comparison) walk(ra, rb reader, p *progress) (n int64, err error) {
	a, stopA := ra.cursor()
	defer stopA()
	b, stopB := rb.cursor()
	defer stopB()
	if err := a.advance(); err != nil {
		return 0, err
	}
	if err := b.advance(); err != nil {
		return 0, err
	}
	for (a.more || b.more) && c.found < mostDifferences {
		order := compareKeys(a, b)
		switch {
		case order < 0:
			c.alone(c.a, &a.op)
		case order > 0:
			c.alone(c.b, &b.op)
		default:
			c.pair(&a.op, &b.op)
		}
		if order <= 0 {
			err = a.advance()
		}
		if order >= 0 && err == nil {
			err = b.advance()
		}
		if err != nil {
			return n, err
		}
		n++
		p.at(n, n)
	}
	return n, nil
}

// compareKeys has a cursor at its end come after all keys.
func compareKeys(a, b *cursor) int {
	switch {
	case !a.more:
		return 1
	case !b.more:
		return -1
	}
	return bytes.Compare(a.op.Key, b.op.Key)
}

// expiring is the remaining time of an item below which it may be missing on one side.
const expiring = time.Second

// alone returns an item that only one side has. One that expires meanwhile is no difference.
func (c *comparison) alone(s *side, op *storage.Op) {
	if !op.ExpiresAt.IsZero() && time.Until(op.ExpiresAt) < expiring {
		return
	}
	c.found++
	c.print("only in %s: %s", s, shown(op.Key))
}

func (c *comparison) pair(a, b *storage.Op) {
	switch {
	case !bytes.Equal(a.Value, b.Value):
		c.found++
		c.print("the values differ (%d and %d bytes): %s", len(a.Value), len(b.Value), shown(a.Key))
	case c.step > 0 && !c.sameExpiry(a.ExpiresAt, b.ExpiresAt):
		c.found++
		c.print("the expiries differ (%s and %s): %s", when(a.ExpiresAt), when(b.ExpiresAt), shown(a.Key))
	}
}

func (c *comparison) sameExpiry(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	return a.Sub(b).Abs() < c.step
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(strictjson.TimeForm)
}

// shownBytes limits how much of a key is printed.
const shownBytes = 200

func shown(key []byte) string {
	if len(key) > shownBytes {
		return fmt.Sprintf("%q… (%d bytes)", key[:shownBytes], len(key))
	}
	return fmt.Sprintf("%q", key)
}
