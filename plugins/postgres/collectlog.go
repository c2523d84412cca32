package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/internal/durable"
)

// collectLogged takes out some of what has expired, as a write with a version of its own; more:
// there is more.
func (b *Backend) collectLogged(ctx context.Context, conn *conn) (more bool, err error) {
	due := b.now() - skew.Milliseconds()
	var any bool
	if err := conn.QueryRow(ctx, b.sql.overdue, due, due/1000).Scan(&any); err != nil || !any {
		return false, err
	}
	return b.expire(ctx, conn, due)
}

// expire takes out items that have expired by a time in ms.
func (b *Backend) expire(ctx context.Context, conn *conn, due int64) (more bool, err error) {
	j := &judgement{b: b, now: b.now()}
	batch := &pgx.Batch{}
	j.begin(batch)
	var record []byte
	n := 0
	batch.Queue(b.sql.expired, due, due/1000, int64(collectAtOne)).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key []byte
			if err := rows.Scan(&key); err != nil {
				return err
			}
			record = durable.AppendExpiry(record, key)
			n++
		}
		return rows.Err()
	})
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return false, err
	}
	if n > 0 {
		j.version = max(j.version, b.seen.Load()) + 1
		j.records, j.made = [][]byte{record}, []int64{int64(j.version)}
	}
	batch = &pgx.Batch{}
	j.end(batch)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return false, err
	}
	b.gave(j.had, j.version)
	b.wear.collected.Add(int64(n))
	return n == collectAtOne, nil
}

// dropOld takes out the first changes, as far as they are too old. Clocks of hosts differ: it
// goes no further than all of them say.
func (b *Backend) dropOld(ctx context.Context, conn *conn) (more bool, err error) {
	rows, err := conn.Query(ctx, b.sql.oldRecords, int64(10*collectAtOne))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	until, first := b.now()-time.Duration(b.config.ChangesAge).Milliseconds(), int64(0)
	for n := 0; rows.Next(); n++ {
		var version, at int64
		if err := rows.Scan(&version, &at); err != nil {
			return false, err
		}
		if at > until {
			break
		}
		first = version // which those that stay follow
	}
	rows.Close()
	if err := rows.Err(); err != nil || first == 0 {
		return false, err
	}
	return b.takeOut(ctx, conn, b.sql.drop, first)
}
