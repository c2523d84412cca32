package server

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

var rangeNames = []string{"prefix", "prefix64", "start", "start64", "end", "end64"}

// scan handles GET of keys: the items of a range, a line each.
func (c *call) scan() (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery, append(rangeNames, "limit", "reverse", "keys_only", "snapshot", "at_version")...); err != nil {
		return err
	}
	start, end, _, err := c.query.bounds()
	if err != nil {
		return err
	}
	var o storage.RangeOptions
	if o.Limit, err = c.query.limit(); err != nil {
		return err
	}
	if o.Reverse, err = c.query.bool("reverse"); err != nil {
		return err
	}
	if o.KeysOnly, err = c.query.bool("keys_only"); err != nil {
		return err
	}
	if err := c.state(&o); err != nil {
		return err
	}
	o.PageBytes = pageBytes
	held, room := c.in.account.Held(), budget.Page(c.in.account, c.guess(), pageBytes, 2)
	out := c.lines()
	for room > 0 {
		if err := c.in.account.Resize(c.r.Context(), held+2*room); err != nil { // a page, and as much of the answer
			return out.failed(budget.Answer(err))
		}
		if room, err = c.pages(out, start, end, &o, room); err != nil {
			return err
		}
	}
	return out.end()
}

// state has all of a scan read one state, if that is asked for, and says which in a header.
func (c *call) state(o *storage.RangeOptions) (err error) {
	if o.Snapshot, err = c.query.bool("snapshot"); err != nil {
		return err
	}
	if at, ok := c.query["at_version"]; ok {
		if o.AtVersion, err = strconv.ParseUint(at, 10, 64); err != nil || o.AtVersion == 0 {
			return badRequest("query: at_version must be the version of a state, which is a number greater than 0")
		}
		o.Snapshot = true
	}
	if !o.Snapshot || !c.info().Caps.Has(storage.CapSnapshotScan) {
		return nil
	}
	if o.AtVersion == 0 {
		page, err := c.store.Backend().Scan(c.r.Context(), storage.Query{Limit: 1, KeysOnly: true})
		if err != nil {
			return err
		}
		o.AtVersion = page.Version
	}
	c.w.Header().Set(versionHeader, strconv.FormatUint(o.AtVersion, 10))
	return nil
}

// versionHeader has the version of the state that was read.
const versionHeader = "Plinth-Version"

// pages writes the items of a range, as long as each has room. Of one that has not, more is
// what it needs; it is dropped, and o says where to go on. A snapshot is kept: it may not be
// there any more for a second look.
func (c *call) pages(out *lines, start, end []byte, o *storage.RangeOptions, room int64) (more int64, err error) {
	for it, err := range c.store.Range(c.r.Context(), start, end, *o) {
		if err != nil {
			return 0, out.failed(err)
		}
		if n := budget.ItemBytes(&it); n > room { // a page of its own
			c.guess().Saw(n)
			if !o.Snapshot {
				return n, nil
			}
			if err := c.in.account.Take(c.r.Context(), 2*(n-room)); err != nil {
				return 0, out.failed(budget.Answer(err))
			}
			room = n
		}
		if err := out.item(it, o.KeysOnly); err != nil {
			return 0, err
		}
		if o.After = it.Key; it.Key == nil { // an empty one
			o.After = []byte{}
		}
		if o.Limit > 0 {
			if o.Limit--; o.Limit == 0 {
				return 0, nil
			}
		}
	}
	return 0, nil
}

// pageBytes is how much of a range is read at once.
const pageBytes = 256 << 10

// clear handles DELETE of keys: it removes a range in one apply.
func (c *call) clear() (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery, append(rangeNames, "all")...); err != nil {
		return err
	}
	start, end, bounded, err := c.query.bounds()
	if err != nil {
		return err
	}
	all, err := c.query.bool("all")
	switch {
	case err != nil:
		return err
	case all && len(c.query) > 1:
		return badRequest("query: all=true excludes bounds")
	case !all && !bounded:
		return badRequest("query: without bounds everything would be removed; that takes all=true")
	}
	if err := c.unconditional(); err != nil {
		return err
	}
	if _, err := c.store.ClearRange(c.r.Context(), start, end); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// getMany handles POST of get: the items of several keys, a line each. They are read
// at once where the answer is not too large for the backend or for a client's share of
// the memory, else in parts. What is asked for several times is read once.
func (c *call) getMany() error {
	keys, err := c.readKeys()
	if err != nil {
		return err
	}
	out := c.lines()
	most := len(keys) // at once
	for len(keys) > 0 {
		n := min(most, len(keys))
		if limit := c.info().Limits.GetKeys; limit > 0 {
			n = min(n, limit)
		}
		found, err := c.read(keys[:n])
		if n > 1 && (errors.Is(err, storage.ErrRangeLimit) || errors.Is(err, storage.ErrSizeLimit)) {
			most = n / 2
			continue
		}
		if err != nil {
			return out.failed(err)
		}
		for _, key := range keys[:n] {
			it, ok := found[string(key)]
			if !ok {
				continue
			}
			if err := out.item(it, false); err != nil {
				return err
			}
		}
		keys = keys[n:]
	}
	return out.end()
}

// read reads keys, each once.
func (c *call) read(keys [][]byte) (found map[string]storage.Item, err error) {
	once := make([][]byte, 0, len(keys))
	found = make(map[string]storage.Item, len(keys))
	for _, key := range keys {
		if _, asked := found[string(key)]; !asked {
			found[string(key)] = storage.Item{}
			once = append(once, key)
		}
	}
	clear(found)
	err = c.fetch(len(once), func() (n int64, err error) {
		items, err := c.store.Backend().GetMany(c.r.Context(), once)
		for i := range items {
			found[string(items[i].Key)] = items[i]
			n += budget.ItemBytes(&items[i])
		}
		return n, err
	}, func() { clear(found) })
	return found, err
}

// lines writes items as NDJSON. Nothing is sent before the first buffer is full,
// so that an error before that has a status of its own.
type lines struct {
	c      *call
	buf    *bufio.Writer
	object *strictjson.Writer
	begun  bool
}

func (c *call) lines() *lines {
	l := &lines{c: c}
	l.buf = bufio.NewWriterSize(l, 64<<10)
	l.object = strictjson.NewWriter(l.buf)
	return l
}

// Write sends a full buffer.
func (l *lines) Write(p []byte) (int, error) {
	l.begin()
	n, err := l.c.send(p)
	if err == nil {
		_ = http.NewResponseController(l.c.w).Flush()
	}
	return n, err
}

func (l *lines) begin() {
	if l.begun {
		return
	}
	l.begun = true
	h := l.c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	l.c.w.WriteHeader(http.StatusOK)
}

func (l *lines) item(it storage.Item, keysOnly bool) error {
	l.object.Bytes("key", it.Key)
	if !keysOnly {
		l.object.Bytes("value", it.Value)
	}
	if it.Version != 0 {
		l.object.Uint("version", it.Version)
	}
	if !it.ExpiresAt.IsZero() {
		l.object.Time("expires_at", it.ExpiresAt)
	}
	if l.object.End() != nil {
		return errAborted
	}
	return nil
}

// failed returns err, or ends the connection where an answer has begun.
func (l *lines) failed(err error) error {
	if !l.begun {
		return err
	}
	if l.c.r.Context().Err() != nil { // who asked for it has left: a page may be all that is needed
		return errAborted
	}
	l.c.server.failures.Record(l.c.r.Context(), slog.LevelError, "scan", "a scan failed midway; its connection is cut", slog.Any("error", err))
	return errAborted
}

func (l *lines) end() error {
	if l.buf.Flush() != nil {
		return errAborted
	}
	l.begin() // for an answer of no lines
	return nil
}

var _ io.Writer = (*lines)(nil)
