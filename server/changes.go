package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// followersPerRequest limits how many requests may wait for changes, for each that may run.
const followersPerRequest = 16

// Sizes of what is read of the changes at once, in bytes: of what is there already, and of
// what is waited for, which counts as memory only once it is there.
const (
	changesBytes = 256 << 10
	waitedBytes  = 64 << 10
)

// changesNames lists the parameters of changes; from says where to begin in place of a
// version.
var changesNames = append([]string{"after", "from", "limit", "wait"}, rangeNames...)

// changes handles GET of changes: a page, or an endless stream of events for a client
// that accepts one.
func (c *call) changes() (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery, changesNames...); err != nil {
		return err
	}
	var q storage.ChangeQuery
	if q.Start, q.End, _, err = c.query.bounds(); err != nil {
		return err
	}
	if q.Limit, err = c.query.limit(); err != nil {
		return err
	}
	if q.Wait, err = c.query.wait(); err != nil {
		return err
	}
	stream := strings.Contains(c.r.Header.Get("Accept"), "text/event-stream")
	after := c.query["after"]
	if last := c.r.Header.Get("Last-Event-ID"); stream && last != "" {
		after = last
	}
	from := c.query["from"]
	switch {
	case from != "" && from != "now" && (from != "scan" || !stream):
		return badRequest("query: from must be now, or scan in a stream of events")
	case after == "":
		q.FromNow = from != "scan"
	default:
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return badRequest("query: after must be a version, which is a number")
		}
	}
	if stream {
		return c.stream(q, from == "scan" && after == "")
	}
	return c.changesPage(q)
}

// wait returns a duration of at most [storage.MostWait]; 0 where it is absent.
func (q query) wait() (time.Duration, error) {
	s, ok := q["wait"]
	if !ok {
		return 0, nil
	}
	if len(s) > 64 || !duration.MatchString(s) {
		return 0, badRequest("query: wait must be a duration with a unit and no sign, such as 30s")
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > storage.MostWait {
		d = storage.MostWait
	}
	return d, nil
}

// changesPage sends a page of changes, a line each, and in the last line, as in the header,
// the version to continue from.
func (c *call) changesPage(q storage.ChangeQuery) error {
	page, err := c.nextChanges(q)
	if err != nil {
		return err
	}
	next := strconv.FormatUint(page.Next, 10)
	c.w.Header().Set("Plinth-Next", next)
	out := c.lines()
	for i := range page.Changes {
		if out.object.Change(&page.Changes[i]) != nil {
			return errAborted
		}
	}
	out.object.Uint("next", page.Next)
	if out.object.End() != nil {
		return errAborted
	}
	return out.end()
}

// nextChanges returns the page of q, which is waited for, without a place among the requests that
// run, if there is nothing yet.
func (c *call) nextChanges(q storage.ChangeQuery) (page storage.ChangePage, err error) {
	wait := q.Wait
	q.Wait, q.MaxBytes = 0, changesBytes
	room := budget.Page(c.in.account, c.guess(), changesBytes, 2)
	held := c.in.account.Held()
	if err := c.in.account.Resize(c.r.Context(), held+2*room); err != nil { // a page, and as much of the answer
		return page, budget.Answer(err)
	}
	if page, err = c.store.Backend().Changes(c.r.Context(), q); err != nil {
		return page, err
	}
	if len(page.Changes) > 0 || wait == 0 || q.FromNow {
		return page, c.holds(held, page)
	}
	_ = c.in.account.Resize(c.r.Context(), held) // which needs no room
	leave, err := c.waits()
	if err != nil {
		return page, err
	}
	ctx, done := c.server.untilDraining(c.r.Context())
	q.After, q.Wait, q.MaxBytes = page.Next, wait, waitedBytes
	page, err = c.store.Backend().Changes(ctx, q)
	err = c.server.drained(c.r.Context(), ctx, err)
	done()
	if leave(); err == nil {
		err = c.holds(held, page)
	}
	if again := c.in.goOn(c.r.Context()); again != nil && err == nil {
		err = again
	}
	return page, err
}

// holds reserves memory for a page and as much of the answer, in addition to what the
// account held.
func (c *call) holds(held int64, page storage.ChangePage) error {
	const each = 144
	var n int64
	for i := range page.Changes {
		n += int64(page.Changes[i].Size()) + each
	}
	return budget.Answer(c.in.account.Resize(c.r.Context(), held+2*n))
}

// waits gives the request a place among those that wait for changes, in place of its own
// among those that run, until leave is called.
func (c *call) waits() (leave func(), err error) {
	select {
	case c.server.followers <- struct{}{}:
	default:
		e := storage.Errorf(storage.Unavailable, "too many requests wait for changes, the limit is %d", cap(c.server.followers))
		e.RetryAfter = time.Second
		return nil, e
	}
	c.in.rest()
	return func() { <-c.server.followers }, nil
}

// untilDraining returns ctx, ending also when the server is to end.
func (s *Server) untilDraining(ctx context.Context) (_ context.Context, done func()) {
	own, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.serving, cancel)
	return own, func() { stop(); cancel() }
}

// drained returns err, or ShuttingDown if own has ended and ctx has not.
func (s *Server) drained(ctx, own context.Context, err error) error {
	if err != nil && own.Err() != nil && ctx.Err() == nil {
		return &storage.Error{Code: storage.ShuttingDown, RetryAfter: time.Second}
	}
	return err
}

// controlled returns how the writer's deadlines are set; not every test's has some.
func (c *call) controlled() *http.ResponseController { return http.NewResponseController(c.w) }
