package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// heartbeat limits the time between two events of a stream, which report the store's
// progress.
const heartbeat = 15 * time.Second

// retryAfter says when a browser whose stream was cut reconnects, in ms.
const retryAfter = 1000

// stream answers with server-sent events until the caller leaves, or the server is to end: an
// event for each change, and with the last one of each write set the id to resume from.
func (c *call) stream(q storage.ChangeQuery, fromScan bool) error {
	leave, err := c.waits()
	if err != nil {
		return err
	}
	defer leave()
	ctx, done := c.server.untilDraining(c.r.Context())
	defer done()
	first := q // what is wrong with the query has a status of its own
	first.Wait, first.Limit, first.MaxBytes, first.FromNow = 0, 1, 1, q.FromNow || fromScan
	page, err := c.store.Backend().Changes(ctx, first)
	if err != nil {
		return c.server.drained(c.r.Context(), ctx, err)
	}
	if q.FromNow {
		q.After = page.Next
	}
	e := events{c: c}
	if err := e.begin(q.After, !fromScan); err != nil {
		return errAborted
	}
	follower := c.store.Changes(q.Start, q.End, storage.ChangesOptions{After: q.After, FromScan: fromScan,
		Wait: heartbeat, PageChanges: q.Limit, PageBytes: waitedBytes})
	held := c.in.account.Held()
	for {
		_, ordered := follower.Version() // the changes of the state are not
		page, err := follower.Page(ctx)
		if err == nil {
			err = c.holds(held, page)
		}
		if err != nil {
			if c.r.Context().Err() != nil || !e.failed(c.server.drained(c.r.Context(), ctx, err)) {
				return errAborted
			}
			return nil
		}
		version, resumable := follower.Version()
		if err := e.page(page, version, resumable, ordered); err != nil {
			return errAborted
		}
		_ = c.in.account.Resize(ctx, held) // which needs no room
	}
}

// events writes server-sent events.
type events struct {
	c   *call
	buf bytes.Buffer
}

// begin sends the header, so that the caller knows that it is connected, and from where.
func (e *events) begin(version uint64, resumable bool) error {
	h := e.c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // proxies would keep it back
	e.c.w.WriteHeader(http.StatusOK)
	fmt.Fprintf(&e.buf, "retry: %d\n", retryAfter)
	if resumable {
		fmt.Fprintf(&e.buf, "id: %d\n", version)
	}
	e.buf.WriteByte('\n')
	return e.send()
}

// page writes the changes of a page, or, without any, a comment and how far the store has come.
func (e *events) page(p storage.ChangePage, version uint64, resumable, ordered bool) error {
	if len(p.Changes) == 0 {
		e.buf.WriteString(": no changes\n")
		if resumable {
			fmt.Fprintf(&e.buf, "id: %d\n", version)
		}
		e.buf.WriteByte('\n')
		return e.send()
	}
	object := strictjson.NewWriter(&e.buf)
	for i := range p.Changes {
		c := &p.Changes[i]
		switch {
		case resumable && i+1 == len(p.Changes):
			fmt.Fprintf(&e.buf, "id: %d\n", version)
		case resumable && ordered && p.Changes[i+1].Version > c.Version:
			fmt.Fprintf(&e.buf, "id: %d\n", c.Version)
		}
		e.buf.WriteString("data: ")
		if err := object.Change(c); err != nil { // ends the line
			return err
		}
		e.buf.WriteByte('\n')
		if e.buf.Len() >= part {
			if err := e.send(); err != nil {
				return err
			}
		}
	}
	return e.send()
}

// failed writes why the stream ends, as an event of its own type. It returns false if the caller has
// gone.
func (e *events) failed(err error) bool {
	text, wrong := json.Marshal(problemOf(err))
	if wrong != nil {
		return false
	}
	fmt.Fprintf(&e.buf, "event: error\ndata: %s\n\n", text)
	return e.send() == nil
}

// send sends what there is, and gives the caller who takes it no deadline for what comes later.
func (e *events) send() error {
	_, err := e.c.send(e.buf.Bytes())
	e.buf.Reset()
	if err == nil {
		control := e.c.controlled()
		_ = control.Flush()
		_ = control.SetWriteDeadline(time.Time{})
	}
	return err
}
