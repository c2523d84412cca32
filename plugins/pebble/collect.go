package pebble

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/storage"
)

// How often what has expired is looked for, and how many entries a group takes out.
const (
	collectEach  = time.Second
	collectAtOne = 512
)

// collects takes out what has expired, little by little, until ctx ends.
func (b *Backend) collects(ctx context.Context) {
	ticker := time.NewTicker(collectEach)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		b.views.tidy(b.now())
		if b.config.Changes { // has parts of the log that are too old dropped
			_, _ = b.submit(ctx, &request{done: make(chan bool, 1), work: func(*group) error { return nil }})
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = b.collect(ctx); err != nil && ctx.Err() == nil {
				b.log.Warn("what has expired is not collected", "error", err)
				break
			}
		}
	}
}

// collect takes out some of what has expired; more: there is more.
func (b *Backend) collect(ctx context.Context) (more bool, err error) {
	due, err := b.due()
	if err != nil || len(due) == 0 {
		return false, err
	}
	_, err = b.submit(ctx, &request{done: make(chan bool, 1), work: func(g *group) error {
		for _, entry := range due {
			if err := g.collect(entry); err != nil {
				return err
			}
		}
		return nil
	}})
	return err == nil && len(due) == collectAtOne, err
}

// due returns the first entries of the index whose time is over.
func (b *Backend) due() (entries [][]byte, err error) {
	v, err := b.views.take()
	if err != nil {
		return nil, err
	}
	defer v.let()
	iter, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceDeadline}, UpperBound: deadlineKey(b.now()+1, nil)})
	if err != nil {
		return nil, failed(err)
	}
	for ok := iter.First(); ok && len(entries) < collectAtOne; ok = iter.Next() {
		entries = append(entries, append([]byte(nil), iter.Key()...))
	}
	if err := iter.Close(); err != nil {
		return nil, failed(err)
	}
	return entries, nil
}

// collect takes out an entry, and the item that it is of, unless that was replaced.
func (g *group) collect(entry []byte) error {
	at, key, err := readDeadline(entry)
	if err != nil {
		return err
	}
	rec, closer, err := look(g.batch, key, at-1) // as it is until then
	if err != nil {
		return err
	}
	if rec != nil {
		own := rec.expires() == at && at <= g.now
		if err := closer.Close(); err != nil {
			return failed(err)
		}
		if own {
			if err := g.batch.Delete(dataKey(nil, key), nil); err != nil {
				return err
			}
			if g.b.config.Changes {
				if err := g.expired(key); err != nil {
					return err
				}
			}
		}
	}
	return g.batch.Delete(entry, nil)
}

// syncs has what was written be on the disk at intervals, until ctx ends.
func (b *Backend) syncs(ctx context.Context) {
	ticker := time.NewTicker(time.Duration(b.config.SyncInterval))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := b.db.LogData(nil, pebble.Sync)
		if err != nil {
			b.wear.failed(storage.Errorf(storage.Internal, "syncing: %w", err))
		}
	}
}
