package postgres

import (
	"context"
	"time"
)

// How often what is over is looked for, how many rows a statement takes out, and how long
// there is between two of them.
const (
	collectEach  = time.Second
	collectAtOne = 500
	collectPause = 5 * time.Millisecond
)

// skew is how long what has expired stays at least: another host's clock may be behind.
const skew = 10 * time.Second

// collects takes out what has expired and what is not needed any more, little by little, until
// ctx ends.
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
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = b.collect(ctx); err != nil {
				if ctx.Err() == nil {
					b.log.Debug("what has expired is not collected", "error", failed(err))
				}
				break
			}
			if more {
				time.Sleep(collectPause)
			}
		}
	}
}

// collect takes out some of what is over; more: there is more. None of it waits for a writer:
// rows that one has are passed over.
func (b *Backend) collect(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Write))
	defer cancel()
	conn, err := b.acquire(ctx, &b.lanes.write)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	var version int64
	if err := conn.QueryRow(ctx, b.sql.version).Scan(&version); err != nil {
		return false, err
	}
	b.marks.note(time.Now(), version)
	if b.logs {
		if more, err = b.collectLogged(ctx, conn); err != nil {
			return false, err
		}
	} else if more, err = b.takeOut(ctx, conn, b.sql.collect, b.now()-skew.Milliseconds(), int64(collectAtOne)); err != nil {
		return false, err
	}
	for _, step := range []struct {
		text string
		args []any
	}{
		{b.sql.trim, []any{int64(10 * collectAtOne)}},
		{b.sql.forget, []any{int64(idsKept), b.marks.old, int64(10 * collectAtOne)}},
	} {
		others, err := b.takeOut(ctx, conn, step.text, step.args...)
		if err != nil {
			return false, err
		}
		more = more || others
	}
	if b.logs { // after those that the log of versions had of them
		others, err := b.dropOld(ctx, conn)
		return more || others, err
	}
	return more, nil
}

// takeOut deletes rows; more: there may be others.
func (b *Backend) takeOut(ctx context.Context, conn *conn, text string, args ...any) (more bool, err error) {
	tag, err := conn.Exec(ctx, text, args...)
	if err != nil {
		return false, err
	}
	b.wear.collected.Add(tag.RowsAffected())
	return tag.RowsAffected() >= collectAtOne, nil
}

// marks record which version the store had some time ago.
type marks struct {
	old    int64 // the version idsFor ago, or 0 if it is not known
	recent []mark
}

type mark struct {
	at      time.Time
	version int64
}

// note has the store be at a version now.
func (m *marks) note(now time.Time, version int64) {
	if n := len(m.recent); n == 0 || now.Sub(m.recent[n-1].at) >= collectEach {
		m.recent = append(m.recent, mark{now, version})
	}
	for len(m.recent) > 0 && now.Sub(m.recent[0].at) >= idsFor {
		m.old = m.recent[0].version
		m.recent = m.recent[1:]
	}
}
