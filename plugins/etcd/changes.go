package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/internal/changetail"
	"github.com/plinthkv/plinth/storage"
)

// askEach is how often a member that has not sent everything yet is asked for progress.
const askEach = 50 * time.Millisecond

// Changes returns a page of what changed: see [storage.Backend]. Versions are the cluster's
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
	q.After = max(q.After, uint64(b.born-1))
	return b.tail.Changes(ctx, q, uint64(answer.Header.Revision))
}

// newTail returns the tail of the store.
func (b *Backend) newTail() *changetail.Tail {
	return changetail.New(changetail.Config{Layer: layer, Living: b.living, Go: b.ended.Go, Patience: time.Duration(b.config.Timeouts.Read),
		Watch: b.hear, Ask: b.askTail, Older: b.older})
}

// hear feeds the tail from one watch, until that ends.
func (b *Backend) hear(ctx context.Context, after uint64) error {
	w, err := b.watches(ctx, b.space.data, b.space.end, int64(after))
	if err != nil {
		return err
	}
	defer w.cancel()
	b.heard.Store(w)
	defer b.heard.Store(nil)
	add := func(version int64, changes []storage.Change) bool { b.tail.Add(uint64(version), changes); return true }
	for {
		if _, err := w.receive(heard{changes: add, progress: func(version int64) bool { return add(version, nil) }}); err != nil {
			return err
		}
	}
}

// askTail asks the member that feeds the tail for progress.
func (b *Backend) askTail() {
	if w := b.heard.Load(); w != nil {
		w.ask()
	}
}

// older returns a page of what changed before the tail began, up to a version.
func (b *Backend) older(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	if q.After >= current || storage.EmptyRange(q.Start, q.End) {
		return storage.ChangePage{Next: max(q.After, current)}, nil
	}
	t := b.begin(ctx, time.Duration(b.config.Timeouts.Read))
	for {
		page, err := b.oldPage(t, q, current)
		var gone changetail.Gone
		switch {
		case err == nil:
			return page, nil
		case errors.As(err, &gone):
			if err := q.CheckAfter(gone.Oldest, current); err != nil {
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
