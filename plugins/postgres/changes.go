package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/internal/changetail"
	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// One query for changes reads at most so many versions, and bytes of those after the first.
const (
	recordRows  = 2000
	recordBytes = 4 << 20
)

// Changes returns a page of what changed: see [storage.Backend]. What is recent is read once for
// all followers, what is older by each call.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (page storage.ChangePage, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	if !b.logs {
		return page, &storage.Error{Code: storage.Unsupported, Op: "changes", Layer: layer, Msg: "the store keeps no changes: set changes: true, and run plinth postgres init"}
	}
	if err := ctx.Err(); err != nil {
		return page, storage.ContextError(ctx)
	}
	if !b.gate.enter() {
		return page, errClosed()
	}
	defer b.gate.leave()
	current, err := b.present(ctx)
	if err != nil {
		return page, err
	}
	q.Limit, q.MaxBytes = limit(q.Limit, pageItems, maxItems), limit(q.MaxBytes, pageBytes, maxBytes)
	return b.tail.Changes(ctx, q, current)
}

// present returns the store's version.
func (b *Backend) present(ctx context.Context) (uint64, error) {
	var version int64
	err := b.reads(ctx, time.Duration(b.config.Timeouts.Read), func(ctx context.Context, conn *conn) error {
		return conn.QueryRow(ctx, b.sql.version).Scan(&version)
	})
	return uint64(version), err
}

// newTail returns the tail of the store.
func (b *Backend) newTail() *changetail.Tail {
	return changetail.New(changetail.Config{Layer: layer, Living: b.living, Go: b.ended.Go, Patience: time.Duration(b.config.Timeouts.Read),
		Watch: b.watch, Ask: b.poke, Older: b.older})
}

// logged holds some of the changes that the table has.
type logged struct {
	oldest, current uint64 // the version before the first that is kept, and the store's
	sets            []loggedSet
	more            bool // there are others behind them
}

type loggedSet struct {
	version uint64
	changes []storage.Change
}

// logAfter reads changes after a version.
func (b *Backend) logAfter(ctx context.Context, after uint64) (l logged, err error) {
	err = b.reads(ctx, time.Duration(b.config.Timeouts.Read), func(ctx context.Context, conn *conn) error {
		l = logged{}
		rows, err := conn.Query(ctx, b.sql.changes, int64(min(after, math.MaxInt64)), int64(recordRows), int64(recordBytes))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := l.take(rows); err != nil {
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if l.oldest == 0 {
			return storage.Errorf(storage.Internal, "the table %s_changes is empty: its rows were removed", b.config.Table)
		}
		l.more = len(l.sets) > 0 && l.sets[len(l.sets)-1].version < l.current
		return nil
	})
	return l, err
}

// take reads a row: of no change where there is none.
func (l *logged) take(rows pgx.Rows) error {
	var oldest, current, version *int64
	var record []byte
	if err := rows.Scan(&oldest, &current, &version, &record); err != nil {
		return err
	}
	if oldest != nil && current != nil {
		l.oldest, l.current = uint64(*oldest), uint64(*current)
	}
	if version == nil {
		return nil
	}
	changes, err := durable.ReadChanges(nil, record, uint64(*version))
	if err != nil {
		return err
	}
	l.sets = append(l.sets, loggedSet{uint64(*version), changes})
	return nil
}

// older returns a page of what changed before the tail began.
func (b *Backend) older(ctx context.Context, q storage.ChangeQuery, current uint64) (storage.ChangePage, error) {
	c := storage.NewChangeCollector(q)
	for at := q.After; ; at = c.Page().Next {
		l, err := b.logAfter(ctx, at)
		if err != nil {
			return storage.ChangePage{}, err
		}
		if err := (&storage.ChangeQuery{After: at}).CheckAfter(l.oldest, max(l.current, current)); err != nil {
			return storage.ChangePage{}, err
		}
		for _, s := range l.sets {
			if !c.Add(s.version, s.changes...) {
				return c.Page(), nil
			}
		}
		if !l.more {
			c.Reach(max(l.current, at))
		}
		if !l.more || c.Page().Next >= current {
			return c.Page(), nil
		}
	}
}

// watch feeds the tail until ctx ends, or it fails.
func (b *Backend) watch(ctx context.Context, after uint64) error {
	news, stop := b.listen(ctx)
	defer stop()
	for {
		l, err := b.logAfter(ctx, after)
		switch {
		case err != nil:
			return err
		case after < l.oldest:
			return changetail.Gone{Oldest: l.oldest}
		}
		for _, s := range l.sets {
			b.tail.Add(s.version, s.changes)
			after = s.version
		}
		if l.more {
			continue
		}
		b.tail.Add(max(after, l.current), nil)
		after = max(after, l.current)
		select {
		case <-news:
		case <-b.pokes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// poke has the table be looked at now.
func (b *Backend) poke() {
	select {
	case b.pokes <- struct{}{}:
	default: // it is about to be
	}
}
