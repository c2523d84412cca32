package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

type watchCmd struct {
	Target   target  `embed:""`
	Bounds   bounds  `embed:""`
	After    *uint64 `help:"Continue after this version. By default, begin now." xor:"from"`
	FromScan bool    `help:"Begin with the items of the range, as puts." xor:"from"`
	Limit    int     `help:"End after this many changes (0 = no limit)."`
}

// watchQuery is a range, and the point from which to watch it.
type watchQuery struct {
	bounds bounds
	after  *uint64 // if nil, from now
	scan   bool    // from the state
}

// watched holds a change as a line of JSON, or none where only the version is news.
type watched struct {
	line    []byte // with its end
	version uint64 // to continue after; 0 if that is not possible yet
}

// errLimit reports that a limit was reached.
var errLimit = errors.New("enough")

// Run watches until it is interrupted. A connection that breaks is made again, and what
// changed meanwhile comes then.
func (w *watchCmd) Run(ctx context.Context, e env) error {
	if w.Limit < 0 {
		return usagef("--limit must not be negative")
	}
	q := watchQuery{w.Bounds, w.After, w.FromScan}
	out, left, begun := forPeople(e.stdout), w.Limit, false
	each := func(c watched) error {
		begun = true
		if len(c.line) > 0 {
			if _, err := out.Write(c.line); err != nil {
				return &exitError{exitFailed, err}
			}
		}
		if c.version > 0 {
			q.after, q.scan = &c.version, false
		}
		if left--; len(c.line) > 0 && w.Limit > 0 && left == 0 {
			return errLimit
		}
		if len(c.line) == 0 {
			left++
		}
		return nil
	}
	for n := 1; ; n++ {
		begun = false
		err := w.Target.with(ctx, func(s served) error { return s.watch(ctx, q, each) })
		if begun {
			n = 1
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, errLimit):
			return nil
		case !broken(err) || !begun && n == 1:
			return err
		case q.scan:
			return fmt.Errorf("the connection broke while the items were read; start again: %w", err)
		}
		fmt.Fprintf(e.stderr, "plinth: the connection broke, trying again: %v\n", err)
		if !backoff.Wait(ctx, backoff.Doubling{First: firstAgain, Most: lastAgain}.Half(n), nil) {
			return nil
		}
	}
}

// The pauses before a connection is made again.
const (
	firstAgain = 100 * time.Millisecond
	lastAgain  = 5 * time.Second
)

// broken reports whether an error is of the connection, and not the server's answer.
func broken(err error) bool {
	var said *exitError
	if !errors.As(err, &said) || said.err == nil {
		return err != nil
	}
	switch storage.CodeOf(said.err) {
	case storage.Unavailable, storage.ShuttingDown, storage.Timeout, storage.RateLimited, storage.Canceled:
		return true
	}
	return false
}

func (g *grpcStore) watch(ctx context.Context, q watchQuery, each func(watched) error) error {
	start, end := q.bounds.span()
	o := storage.ChangesOptions{FromNow: q.after == nil && !q.scan, FromScan: q.scan}
	if q.after != nil {
		o.After = *q.after
	}
	f := g.store.Changes(start, end, o)
	var line bytes.Buffer
	for object := strictjson.NewWriter(&line); ; {
		page, err := f.Page(ctx)
		if err != nil {
			return exitOf(err)
		}
		version, resumable := f.Version()
		for i := range page.Changes {
			line.Reset()
			if err := object.Change(&page.Changes[i]); err != nil {
				return err
			}
			c := watched{line: line.Bytes()}
			if resumable && i+1 == len(page.Changes) {
				c.version = version
			}
			if err := each(c); err != nil {
				return err
			}
		}
		if len(page.Changes) == 0 && resumable {
			if err := each(watched{version: version}); err != nil {
				return err
			}
		}
	}
}

// mostSilence limits how long a stream may be silent: a server sends something more often.
const mostSilence = time.Minute

func (c *httpStore) watch(ctx context.Context, q watchQuery, each func(watched) error) error {
	query := q.bounds.query()
	if q.after != nil {
		query.Set("after", strconv.FormatUint(*q.after, 10))
	} else if q.scan {
		query.Set("from", "scan")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(mostSilence, func() { cancel(fmt.Errorf("nothing came for %s", mostSilence)) })
	defer silence.Stop()
	res, err := c.do(ctx, http.MethodGet, withQuery("/changes", query), http.Header{"Accept": {"text/event-stream"}}, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	r := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		now, failed, err := readEvent(r)
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("read the server's response: %w", err)
		case failed != nil:
			return failed
		}
		silence.Reset(mostSilence)
		if err := each(now); err != nil {
			return err
		}
	}
}

// readEvent reads a server-sent event: a change, or why there are no more.
func readEvent(r *bufio.Reader) (w watched, failed, err error) {
	kind := ""
	for {
		raw, err := readLine(r)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return w, nil, err
		}
		name, value, _ := strings.Cut(string(raw), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			kind = value
		case "id":
			if w.version, err = strconv.ParseUint(value, 10, 64); err != nil {
				return w, nil, fmt.Errorf("%.40q is no version", value)
			}
		case "data":
			w.line = append([]byte(value), '\n')
		}
		if len(raw) > 0 {
			continue
		}
		if kind == "error" {
			var p problem
			if err := json.Unmarshal(w.line, &p); err != nil {
				return w, nil, err
			}
			return w, &exitError{exitFailed, &storage.Error{Code: codeCalled(p.Code), Msg: abi.Printable(fmt.Sprintf("%s (%s)", p.Detail, p.Code))}}, nil
		}
		return w, nil, nil
	}
}
