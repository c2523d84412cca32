package grpcserver

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// waitedBytes bounds a page after a wait, whose memory is reserved only when the page is there.
const waitedBytes = 64 << 10

// followWait limits how long a stream of changes waits before it says that there are none.
const followWait = 15 * time.Second

// changes sends one page, and waits for it as the request says.
func (c *call) changes() error {
	q, most, err := c.receiveChanges()
	if err != nil {
		return err
	}
	page, err := c.nextChanges(q, most)
	if err != nil {
		return err
	}
	return c.sendChanges(page, most)
}

// follow sends one page after the other until the caller ends the call. A caller who
// does not take a page in time is cut off.
func (c *call) follow() error {
	q, most, err := c.receiveChanges()
	if err != nil {
		return err
	}
	if err := c.waitsLong(); err != nil {
		return err
	}
	if q.Wait == 0 {
		q.Wait = followWait
	}
	held := c.account.Held()
	for {
		page, err := c.nextChanges(q, most)
		if err != nil {
			return err
		}
		if err := c.sendChanges(page, most); err != nil {
			return err
		}
		if err := c.account.Resize(c.ctx, held); err != nil {
			return err
		}
		if c.slot == nil { // a large page took it
			if c.slot = c.s.followers.take(c.ctx); c.slot == nil {
				return c.tooManyWait()
			}
		}
		q.After, q.FromNow = page.Next, false
	}
}

// receiveChanges reads the request, and says how large an answer may be.
func (c *call) receiveChanges() (storage.ChangeQuery, int, error) {
	if err := c.receive(&c.changesRequest); err != nil {
		return storage.ChangeQuery{}, 0, err
	}
	most, err := c.budget()
	q := c.changesRequest.Query
	if q.MaxBytes <= 0 || q.MaxBytes > pageBytes {
		q.MaxBytes = pageBytes
	}
	q.MaxBytes = min(q.MaxBytes, most)
	return q, most, err
}

// waitsLong has the call wait in a place of those who do, and not in one of those that run.
func (c *call) waitsLong() error {
	if c.from == c.s.followers {
		return nil
	}
	at := c.s.followers.take(c.ctx)
	if at == nil {
		return c.tooManyWait()
	}
	c.from.give(c.slot)
	c.slot, c.from = at, c.s.followers
	return nil
}

func (c *call) tooManyWait() error {
	e := storage.Errorf(storage.Unavailable, "too many calls wait for changes, the limit is %d", len(c.s.followers.all))
	e.RetryAfter = time.Second
	return e
}

// nextChanges returns the page of q, which is waited for if there is nothing yet.
func (c *call) nextChanges(q storage.ChangeQuery, most int) (page storage.ChangePage, err error) {
	wait := q.Wait
	q.Wait = 0
	err = budget.FetchPage(c.ctx, c.account, c.guess(), int64(q.MaxBytes), func() (int64, error) {
		page, err = c.store.Backend().Changes(c.ctx, q)
		return sizeOfChanges(page.Changes), err
	}, func() { page = storage.ChangePage{} })
	if err != nil || len(page.Changes) > 0 || wait <= 0 || q.FromNow {
		return page, err
	}
	if err := c.waitsLong(); err != nil {
		return storage.ChangePage{}, err
	}
	q.After, q.Wait, q.MaxBytes = page.Next, wait, min(q.MaxBytes, waitedBytes)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	defer context.AfterFunc(c.s.waits, cancel)()
	if page, err = c.store.Backend().Changes(ctx, q); err != nil {
		if c.s.waits.Err() != nil && c.ctx.Err() == nil {
			err = &storage.Error{Code: storage.ShuttingDown}
		}
		return storage.ChangePage{}, err
	}
	return page, budget.Answer(c.account.Take(c.ctx, sizeOfChanges(page.Changes)))
}

// sendChanges sends as many whole write sets of the page as the answer may be large.
func (c *call) sendChanges(page storage.ChangePage, most int) error {
	if err := fitChanges(&page, most); err != nil {
		return err
	}
	abigrpc.ShiftChanges(page.Changes, -c.offset)
	return c.send(&abigrpc.ChangePage{ChangePage: page})
}

// fitChanges leaves so many write sets on a page as fit into most bytes, which is at least
// one, or a RangeLimit.
func fitChanges(p *storage.ChangePage, most int) error {
	used, first := pageReserve, 0 // the first change of its write set
	for i := range p.Changes {
		if p.Changes[i].Version != p.Changes[first].Version {
			first = i
		}
		if used += abi.ChangeSize(&p.Changes[i]); used <= most {
			continue
		}
		if first == 0 {
			return storage.LimitError(storage.RangeLimit, "answer bytes", int64(most), int64(used))
		}
		p.Changes, p.Next = p.Changes[:first], p.Changes[first].Version-1
		return nil
	}
	return nil
}

// sizeOfChanges returns the memory of changes, including their overhead.
func sizeOfChanges(changes []storage.Change) (n int64) {
	const each = 144
	for i := range changes {
		n += int64(changes[i].Size()) + each
	}
	return n
}
