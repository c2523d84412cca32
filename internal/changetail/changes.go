package changetail

import (
	"bytes"
	"context"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// askEach says how often a call asks the watch for progress, until the changes from before
// the call have arrived.
const askEach = 50 * time.Millisecond

// Changes returns a page of q, which is valid. Current is the version that the store was at
// after the call began. See [storage.Backend].
func (t *Tail) Changes(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	t.follow(current)
	if q.FromNow { // the caller is about to follow
		return storage.ChangePage{Next: current}, nil
	}
	if err := q.CheckAfter(0, current); err != nil {
		return storage.ChangePage{}, err
	}
	if err := t.enter(); err != nil {
		return storage.ChangePage{}, err
	}
	defer t.leave()
	page, err := t.wait(ctx, q, current)
	if err != nil {
		return storage.ChangePage{}, err
	}
	for i := range page.Changes { // the tail's changes are shared
		c := &page.Changes[i]
		c.Key, c.End, c.Value = bytes.Clone(c.Key), bytes.Clone(c.End), bytes.Clone(c.Value)
	}
	return page, nil
}

func (t *Tail) wait(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	end, patience := time.Now().Add(min(q.Wait, storage.MostWait)), time.Now().Add(t.c.Patience)
	for {
		page, covers, published, changed := t.page(q)
		if !covers {
			var err error
			if page, err = t.c.Older(ctx, q, current); err != nil {
				return page, err
			}
			published = page.Next
		}
		if len(page.Changes) > 0 || published >= current && !time.Now().Before(end) {
			return page, nil
		}
		q.After = max(q.After, page.Next)
		if !covers {
			if err := ctx.Err(); err != nil {
				return page, storage.ContextError(ctx)
			}
			t.follow(current) // it may have ended
			continue
		}
		until := end
		if published < current { // the answer must contain what existed when the call began
			t.c.Ask()
			until = time.Now().Add(askEach)
			if time.Now().After(patience) {
				return page, &storage.Error{Code: storage.Unavailable, Layer: t.c.Layer, Msg: "the changes that there are do not arrive"}
			}
		}
		if err := t.await(ctx, changed, until); err != nil {
			return page, err
		}
	}
}

// await waits for a change of the tail until then.
func (t *Tail) await(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-t.c.Living.Done():
		return &storage.Error{Code: storage.ShuttingDown, Layer: t.c.Layer}
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	return nil
}
