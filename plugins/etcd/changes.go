package etcd

import (
	"bytes"
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/storage"
)

// askEach is how often a member that has not sent everything yet is asked for progress.
const askEach = 50 * time.Millisecond

// Changes answers a page of what changed: see [storage.Backend]. Versions are the cluster's
// revisions. What is recent comes from a watch that all followers share, what is older from
// one of the call's own, as far back as the cluster was not compacted.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, err
	}
	if err := b.enter(ctx); err != nil {
		return storage.ChangePage{}, err
	}
	defer b.leave()
	page, err := b.changes(ctx, q.Cut(b.info.Limits))
	if err != nil {
		return storage.ChangePage{}, named("changes", err)
	}
	for i := range page.Changes { // what the tail has is everybody's
		c := &page.Changes[i]
		c.Key, c.Value = bytes.Clone(c.Key), bytes.Clone(c.Value)
	}
	return page, nil
}

func (b *Backend) changes(ctx context.Context, q storage.ChangeQuery) (page storage.ChangePage, err error) {
	if !b.info.Caps.Has(storage.CapChanges) {
		return page, storage.Errorf(storage.Unsupported, "changes need members of etcd %s or later", firstWithProgress)
	}
	q.Limit, q.MaxBytes = limit(q.Limit, pageItems, maxItems), min(limit(q.MaxBytes, pageBytes, maxBytes), b.answer)
	answer, err := b.ranges(ctx, &pb.RangeRequest{Key: b.space.marker, CountOnly: true})
	if err != nil {
		return page, err
	}
	current := uint64(answer.Header.Revision)
	if q.FromNow {
		b.tail.follow(current) // whoever asks is about to
		return storage.ChangePage{Next: current}, nil
	}
	if err := q.CheckAfter(0, current); err != nil {
		return page, err
	}
	q.After = max(q.After, uint64(b.born-1))
	b.tail.follow(current)
	if err := b.tail.enter(); err != nil {
		return page, err
	}
	defer b.tail.leave()
	end, patience := time.Now().Add(q.Wait), time.Now().Add(time.Duration(b.config.Timeouts.Read))
	for {
		page, covers, published, changed := b.tail.page(q)
		if !covers {
			if page, err = b.older(ctx, q, current); err != nil {
				return page, err
			}
			published = current
		}
		if len(page.Changes) > 0 || published >= current && !time.Now().Before(end) {
			return page, nil
		}
		q.After = max(q.After, page.Next)
		if !covers {
			b.tail.follow(current) // it may have ended
			continue
		}
		until := end
		if published < current { // what was there when the call began is to be in the answer
			b.tail.ask()
			until = time.Now().Add(askEach)
			if time.Now().After(patience) {
				return page, &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: "the members do not send the changes that there are"}
			}
		}
		if err := b.await(ctx, changed, until); err != nil {
			return page, err
		}
	}
}

// await waits for a change of the tail until then.
func (b *Backend) await(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-b.living.Done():
		return errClosed()
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	return nil
}

// older is a page of what changed before the tail began, up to a version.
func (b *Backend) older(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	if q.After >= current || storage.EmptyRange(q.Start, q.End) {
		return storage.ChangePage{Next: max(q.After, current)}, nil
	}
	t := b.begin(ctx, time.Duration(b.config.Timeouts.Read))
	for {
		page, err := b.oldPage(t, q, current)
		var gone compacted
		switch {
		case err == nil:
			return page, nil
		case errors.As(err, &gone):
			if err := q.CheckAfter(uint64(gone.oldest), current); err != nil {
				return page, err
			}
		}
		f := t.unwatched(err)
		if !f.again || !t.wait() {
			return page, ended(ctx, &f)
		}
	}
}

// oldPage makes one attempt at a page.
func (b *Backend) oldPage(t *tries, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	ctx, cancel := t.attempt(true)
	defer cancel()
	stop := context.AfterFunc(b.living, cancel)
	defer stop()
	from, to := b.space.bounds(q.Start, q.End)
	w, err := b.watches(ctx, from, to, int64(q.After))
	if err != nil {
		return storage.ChangePage{}, err
	}
	defer w.cancel()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		ticker := time.NewTicker(askEach)
		defer ticker.Stop()
		for {
			w.ask()
			select {
			case <-ticker.C:
			case <-w.stream.Context().Done():
				return
			}
		}
	}()
	defer func() { w.cancel(); <-asked }()
	c := storage.NewChangeCollector(q)
	more := func() bool { return c.Page().Next < current }
	h := heard{
		changes:  func(version int64, made []storage.Change) bool { return c.Add(uint64(version), made...) && more() },
		progress: func(version int64) bool { c.Reach(min(uint64(version), current)); return more() },
	}
	for {
		again, err := w.receive(h)
		if err != nil {
			if ctx.Err() != nil && len(c.Page().Changes) > 0 {
				return c.Page(), nil // as far as it came
			}
			return storage.ChangePage{}, err
		}
		if !again {
			return c.Page(), nil
		}
	}
}
