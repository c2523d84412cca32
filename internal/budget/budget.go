package budget

import (
	"cmp"
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Default is the default size of a budget, in bytes.
const Default = 512 << 20

const (
	shares     = 4 // a client may take one of so many
	maxWait    = 2 * time.Second
	maxWaiting = 4096
)

// While requests wait for room, uploads that stall for grace, or that arrive more slowly than
// rate on the whole, are given up: they hold memory that others wait for.
const (
	grace = time.Second
	rate  = 256 << 10 // bytes per second
)

// Budget limits bytes. It is safe for concurrent use. Nil has no limit.
type Budget struct {
	max, share int64

	mu        sync.Mutex
	used      int64
	clients   map[any]*client
	queue     list.List // of *waiter, whose share is reserved already
	waiting   int       // those whose share is not included
	arriving  list.List // of *Account
	pressing  bool      // a look at arriving is due
	stuck     bool      // no waiter has got room since then
	refused   int64
	abandoned int64
}

// client is who the accounts are of, as long as there are any.
type client struct {
	used     int64
	accounts int
	queue    list.List // of *waiter, who wait for the client's share
}

type waiter struct {
	client *client
	n      int64
	at     *list.Element
	in     *list.List // where at is
	ready  chan struct{}
	gone   bool // it is not to wait any more
}

// New returns a budget of max bytes; if zero, of Default.
func New(max int64) *Budget {
	if max <= 0 {
		max = Default
	}
	return &Budget{max: max, share: max / shares, clients: map[any]*client{}}
}

// Share returns the maximum for one client, in bytes; zero means no limit. One request and its
// answer must fit into it.
func (b *Budget) Share() int64 {
	if b == nil {
		return 0
	}
	return b.share
}

// Stats holds the counters of a budget.
type Stats struct {
	Max, Used int64 // bytes
	Waiting   int   // for room
	Refused   int64 // requests, for which there was no room in time
	Abandoned int64 // requests that arrived too slowly while others waited
}

// Stats returns the counters.
func (b *Budget) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{b.max, b.used, b.waiting, b.refused, b.abandoned}
}

// Open returns an account of a client, which is identified by a comparable key. The
// caller closes it.
func (b *Budget) Open(key any) *Account {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[key]
	if c == nil {
		c = &client{}
		b.clients[key] = c
	}
	c.accounts++
	return &Account{b: b, key: key, client: c}
}

// take waits for n bytes of a client.
func (b *Budget) take(ctx context.Context, a *Account, n int64) error {
	c := a.client
	b.mu.Lock()
	w := &waiter{client: c, n: n}
	switch {
	case b.fits(c, n):
		b.mu.Unlock()
		return nil
	case c.queue.Len() > 0 || c.used+n > b.share:
		w.in = &c.queue
	default:
		c.used += n
		w.in = &b.queue
	}
	if b.waiting >= maxWaiting {
		if w.in == &b.queue {
			c.used -= n
		}
		return b.refuse(n)
	}
	b.waiting++
	a.waits = w
	w.ready = make(chan struct{})
	w.at = w.in.PushBack(w)
	b.press()
	b.mu.Unlock()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	var left error
	select {
	case <-w.ready:
		b.mu.Lock()
		if w.gone {
			return b.refuse(n)
		}
		b.mu.Unlock()
		return nil
	case <-ctx.Done():
		left = storage.ContextError(ctx)
	case <-timer.C:
	}
	b.mu.Lock()
	if w.gone {
		return b.refuse(n)
	}
	if w.in == nil { // there was room meanwhile
		if left != nil {
			b.give(c, n)
		}
		b.mu.Unlock()
		return left
	}
	b.drop(w)
	if left != nil {
		b.mu.Unlock()
		return left
	}
	return b.refuse(n)
}

// fits reserves n bytes if there is room and no request waits for it. The lock is held.
func (b *Budget) fits(c *client, n int64) bool {
	if c.queue.Len() > 0 || c.used+n > b.share || b.queue.Len() > 0 || b.used+n > b.max {
		return false
	}
	c.used += n
	b.used += n
	return true
}

// refuse unlocks the budget.
func (b *Budget) refuse(n int64) error {
	b.refused++
	used := b.used
	b.mu.Unlock()
	return &storage.Error{Code: storage.Unavailable, RetryAfter: time.Second, Msg: "no memory for the request in time",
		Limit: storage.Limit{Kind: "server.limits.memory", Max: b.max, Actual: used + n}}
}

// drop removes a waiter. The lock is held.
func (b *Budget) drop(w *waiter) {
	b.waiting--
	w.in.Remove(w.at)
	if w.in == &b.queue {
		w.client.used -= w.n
	}
	b.advance(w.client)
}

// give returns bytes. The lock is held.
func (b *Budget) give(c *client, n int64) {
	b.used -= n
	c.used -= n
	b.advance(c)
}

// advance lets those go on for whom there is room now: each is looked at when it is
// the first of its queue. The lock is held.
func (b *Budget) advance(c *client) {
	for at := c.queue.Front(); at != nil; at = c.queue.Front() {
		w := at.Value.(*waiter)
		if c.used+w.n > b.share {
			break
		}
		c.queue.Remove(at)
		c.used += w.n
		w.in, w.at = &b.queue, b.queue.PushBack(w)
	}
	for at := b.queue.Front(); at != nil; at = b.queue.Front() {
		w := at.Value.(*waiter)
		if b.used+w.n > b.max {
			break
		}
		b.queue.Remove(at)
		b.used += w.n
		b.stuck = false
		w.in = nil
		b.waiting--
		close(w.ready)
	}
}

// press gives up requests that arrive too slowly, now and as long as others wait. The lock
// is held.
func (b *Budget) press() {
	if b.pressing {
		return
	}
	b.pressing, b.stuck = true, true
	time.AfterFunc(grace/4, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pressing = false
		if b.queue.Len() == 0 {
			return
		}
		var arriving []*Account
		now := time.Now()
		for at := b.arriving.Front(); at != nil; {
			a := at.Value.(*Account)
			at = at.Next()
			age := now.Sub(a.since)
			slow := now.Sub(a.moved) >= grace || !a.leaving && float64(a.held) < age.Seconds()*rate
			if a.waits == nil && age >= grace && slow {
				b.giveUp(a)
				continue
			}
			if a.leaving { // it waits for its caller alone
				continue
			}
			arriving = append(arriving, a)
		}
		if b.stuck {
			b.unstick(arriving)
		}
		b.press()
	})
}

// unstick gives up those that hold most, of those that have a part and may all be
// waiting for another, until a part of the budget is free. The lock is held.
func (b *Budget) unstick(arriving []*Account) {
	slices.SortFunc(arriving, func(x, y *Account) int { return cmp.Compare(y.held, x.held) })
	freed := int64(0)
	for _, a := range arriving {
		if freed += a.held; freed > b.max/4 && a != arriving[0] {
			return
		}
		b.giveUp(a)
	}
}

// giveUp stops the reading of the request of a, or its wait for room. The lock is held.
func (b *Budget) giveUp(a *Account) {
	b.arriving.Remove(a.at)
	a.at, a.slow = nil, true
	b.abandoned++
	if w := a.waits; w != nil && w.in != nil {
		w.gone = true
		b.drop(w)
		close(w.ready)
	}
	a.abandon()
}
