package grpcserver

import (
	"time"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// leastRate is how fast a caller has to take an answer, in bytes per second, beyond
// the time that any answer may take. mostUnsent is how much a connection may have to
// take without its calls waiting for that.
const (
	leastRate  = 256 << 10
	mostUnsent = 1 << 20
)

// send sends the answer. It waits until the caller has read a large answer, because the
// answer needs memory until then. A caller that does not read is disconnected, because
// nothing else releases the buffers of the transport.
func (c *call) send(m abigrpc.Message) error {
	size := int64(abigrpc.Size(m))
	if size < abigrpc.TrackedFrom || c.caller == nil {
		return c.sendNow(m)
	}
	if err := c.account.Take(c.ctx, size); err != nil {
		return budget.Answer(err)
	}
	sent := make(chan struct{})
	caller := c.caller
	unsent := caller.unsent.Add(size)
	err := c.sendNow(abigrpc.Tracked(m, func() {
		caller.unsent.Add(-size)
		close(sent)
	}))
	if err != nil || unsent < mostUnsent {
		return err
	}
	c.from.give(c.slot) // others may run: what is left is memory
	c.slot = nil
	timer := time.NewTimer(c.s.config.WriteTimeout + time.Duration(size/leastRate)*time.Second)
	defer timer.Stop()
	select {
	case <-sent:
		return nil
	case <-timer.C:
	case <-c.ctx.Done():
		select {
		case <-sent:
			return nil
		case <-time.After(time.Second): // which is enough for what the transport drops
		}
	}
	select {
	case <-sent:
	default:
		caller.conn.Close()
	}
	return nil
}

func (c *call) sendNow(m abigrpc.Message) error {
	c.from.wait(c.slot, c.s.config.WriteTimeout)
	err := c.stream.SendMsg(m)
	c.slot.moved()
	if err != nil {
		return &received{err}
	}
	return nil
}

// fetch reads at most so many items, as package server does: with room for as much as
// they may take, in its account.
func (c *call) fetch(items int, read func() (n int64, err error), drop func()) error {
	return budget.Fetch(c.ctx, c.account, c.guess(), items, read, drop)
}

// guess returns the estimate of the store's item sizes.
func (c *call) guess() *budget.Guess { return c.s.now().guesses[c.store] }

// sizeOf returns the memory of items.
func sizeOf(items []storage.Item) (n int64) {
	for i := range items {
		n += budget.ItemBytes(&items[i])
	}
	return n
}

// pageBytes is how much of a range is read at once.
const pageBytes = 1 << 20
