package client

import (
	"bytes"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/storage"
)

// getCall is the two messages of a Get, which are used again.
type getCall struct {
	request abigrpc.GetRequest
	answer  abigrpc.Item
}

// Nothing of a call is kept in the pool.
var getCalls = sync.Pool{New: func() any { return new(getCall) }}

// Get calls the server.
func (c *Client) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if c.info.Load().Limits.TooLong(key) { // and so absent, at whatever length
		return storage.Item{}, storage.ErrNotFound
	}
	g := getCalls.Get().(*getCall)
	g.request.Key = key
	ahead, err := c.read(ctx, "get", abigrpc.MethodGet, &g.request, &g.answer)
	it := g.answer.Item
	g.request.Key, g.answer.Item = nil, storage.Item{}
	getCalls.Put(g)
	if err != nil {
		return storage.Item{}, err
	}
	if it.Key = nil; it.Value == nil {
		it.Value = []byte{}
	}
	it.ExpiresAt = abigrpc.Shift(it.ExpiresAt, -ahead)
	return it, nil
}

// GetMany calls the server. The items share one copy of the answer.
func (c *Client) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := &c.info.Load().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, c.error("get_many", storage.AsError(err))
	}
	keys = limits.Possible(keys)
	request := abigrpc.GetManyRequest{Keys: keys}
	if n := abigrpc.Size(&request); n > c.config.MessageBytes { // fewer keys may fit
		return nil, c.error("get_many", storage.LimitError(storage.RangeLimit, "request bytes", int64(c.config.MessageBytes), int64(n)))
	}
	var found abigrpc.Items
	ahead, err := c.read(ctx, "get_many", abigrpc.MethodGetMany, &request, &found)
	if err != nil {
		return nil, err
	}
	if err := answer.Items(found.Items, keys); err != nil {
		return nil, c.unreadable("get_many", err)
	}
	answer.Present(found.Items)
	abigrpc.ShiftAll(found.Items, -ahead)
	return found.Items, nil
}

// Scan calls the server. The items share one copy of the answer.
func (c *Client) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, c.error("scan", storage.AsError(err))
	}
	var page abigrpc.Page
	cut := q.Cut(c.info.Load().Limits)
	ahead, err := c.read(ctx, "scan", abigrpc.MethodScan, &abigrpc.ScanRequest{Query: cut}, &page)
	if err != nil {
		return storage.Page{}, err
	}
	if err := answer.Page(&cut, &page.Page); err != nil {
		return storage.Page{}, c.unreadable("scan", err)
	}
	q.Resume(&page.Page)
	if !q.KeysOnly {
		answer.Present(page.Items)
	}
	if page.Next != nil {
		page.Next = bytes.Clone(page.Next)
	}
	abigrpc.ShiftAll(page.Items, -ahead)
	return page.Page, nil
}

// Changes asks the server, which waits. The changes share one copy of the answer.
func (c *Client) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	info := c.info.Load()
	err := q.Validate()
	if err == nil && !info.Caps.Has(storage.CapChanges) {
		err = &storage.Error{Code: storage.Unsupported, Msg: "the server's store has no changes"}
	}
	if err != nil {
		return storage.ChangePage{}, c.error("changes", storage.AsError(err))
	}
	whole := q
	q = q.Cut(info.Limits)
	own, done := c.calls.Within(ctx) // a client that is closed does not wait
	defer done()
	end := time.Now().Add(q.Wait)
	var page abigrpc.ChangePage
	ahead, err := c.readAgain(own, "changes", q.Wait, func() (string, abigrpc.Message, abigrpc.Message) {
		q.Wait = min(q.Wait, max(0, time.Until(end)))
		return abigrpc.MethodChanges, &abigrpc.ChangesRequest{Query: q}, &page
	})
	if err != nil && own.Err() != nil && ctx.Err() == nil {
		err = c.error("changes", &storage.Error{Code: storage.ShuttingDown})
	}
	if err != nil {
		return storage.ChangePage{}, err
	}
	if err := answer.Changes(&q, &page.ChangePage); err != nil {
		return storage.ChangePage{}, c.unreadable("changes", err)
	}
	answer.PresentChanges(page.Changes)
	whole.Resume(&page.ChangePage)
	abigrpc.ShiftChanges(page.Changes, -ahead)
	return page.ChangePage, nil
}

// Health calls the server, except for liveness, which is the client's own. An unreachable
// server is unhealthy.
func (c *Client) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if err := storage.ContextError(ctx); err != nil {
		return storage.Health{}, err
	}
	if c.calls.IsShut() {
		return storage.Health{}, c.error("health", &storage.Error{Code: storage.ShuttingDown})
	}
	if p == storage.Liveness {
		return storage.Health{Status: storage.Healthy}, nil
	}
	var h abigrpc.Health
	if _, err := c.read(ctx, "health", abigrpc.MethodHealth, &abigrpc.HealthRequest{Probe: p}, &h); err != nil {
		if e := storage.AsError(err); e.Code == storage.Unavailable {
			return storage.Health{Status: storage.Unhealthy, Reason: e.Error()}, nil
		}
		return storage.Health{}, err
	}
	answer.Health(&h.Health)
	return h.Health, nil
}

// read calls the server until it answers or the attempts are used up. It returns
// how far the server's clock is ahead.
func (c *Client) read(ctx context.Context, op, method string, request, reply abigrpc.Message) (ahead time.Duration, err error) {
	return c.readAgain(ctx, op, 0, func() (string, abigrpc.Message, abigrpc.Message) { return method, request, reply })
}

// readAgain reads with a new request for each attempt. The server may wait before it
// answers.
func (c *Client) readAgain(ctx context.Context, op string, wait time.Duration, call func() (method string, request, reply abigrpc.Message)) (ahead time.Duration, err error) {
	if !c.calls.Enter() {
		return 0, c.error(op, &storage.Error{Code: storage.ShuttingDown})
	}
	defer c.calls.Leave()
	for n := 1; ; n++ {
		method, request, reply := call()
		ahead, again, err := c.readOnce(ctx, op, method, wait, request, reply)
		if err == nil {
			return ahead, nil
		}
		if !again || n >= c.config.Attempts {
			return 0, err
		}
		if err := c.wait(ctx, n, err); err != nil {
			return 0, err
		}
	}
}

func (c *Client) readOnce(ctx context.Context, op, method string, wait time.Duration, request, reply abigrpc.Message) (ahead time.Duration, again bool, _ error) {
	if ctx.Err() != nil {
		return 0, false, storage.ContextError(ctx)
	}
	for range 2 { // the first may only learn that the connection is gone
		l, err := c.acquire(ctx)
		if err != nil {
			e := storage.AsError(err)
			return 0, e.Code == storage.Unavailable, c.error(op, e)
		}
		err = c.invoke(ctx, l, method, wait, request, reply)
		ahead = l.ahead()
		l.release()
		if err == nil {
			return ahead, false, nil
		}
		if unsent(err) {
			continue
		}
		e, answered := c.failure(ctx, op, err)
		e = answer.Failure(e, false, 0)
		return 0, e.Code == storage.Unavailable || !answered && e.Code == storage.Timeout && ctx.Err() == nil, e
	}
	return 0, true, c.error(op, &storage.Error{Code: storage.Unavailable, Msg: c.config.Address + ": connection lost repeatedly"})
}

func (c *Client) invoke(ctx context.Context, l *link, method string, wait time.Duration, request, reply abigrpc.Message) error {
	if c.config.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.AttemptTimeout+wait)
		defer cancel()
	}
	return l.conn.Invoke(metadata.NewOutgoingContext(ctx, *c.metadata.Load()), method, request, reply)
}

// The wait before a repeat, uniform up to a bound that doubles: those who failed
// together do not return together.
const (
	firstWait = 10 * time.Millisecond
	mostWait  = 250 * time.Millisecond
)

// wait waits before repeat n, as long as the error asks for if that is longer.
func (c *Client) wait(ctx context.Context, n int, err error) error {
	d := backoff.Doubling{First: firstWait, Most: mostWait}.Full(n)
	if after := storage.AsError(err).RetryAfter; after > d {
		d = min(after, time.Second)
	}
	switch {
	case backoff.Wait(ctx, d, c.life.Done()):
		return nil
	case ctx.Err() != nil:
		return storage.ContextError(ctx)
	}
	return c.error("", &storage.Error{Code: storage.ShuttingDown})
}
