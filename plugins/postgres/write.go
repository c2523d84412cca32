package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// lost reports that a transaction's answer did not come: it may have been committed.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// maybeLost returns an error of sending a commit: the server says that it is not done, or nothing was
// sent, or it is lost.
func maybeLost(err error) error {
	if refused(err) || pgconn.SafeToRetry(err) || errors.As(err, new(pgx.ErrPreprocessingBatch)) {
		return err
	}
	return lost{err}
}

// errRepeated reports that an ID of a group was used before, so that the group has to be
// judged.
var errRepeated = errors.New("an ID is known")

// mostAttempts limits how often a group is tried of which nothing was done.
const mostAttempts = 8

// work does a group and answers it, within the time that the configuration gives, and ctx.
func (b *Backend) work(ctx context.Context, group []*request) {
	limit := time.Duration(b.config.Timeouts.Write)
	within, cancel := context.WithTimeout(ctx, limit)
	err := b.tries(within, group)
	cancel()
	left := over(ctx)
	if err != nil && left == nil {
		b.wear.failed(err)
	}
	switch {
	case err == nil:
	case errors.As(err, new(lost)):
		if left != nil {
			err = left
		}
		group = giveUp(group, err)
		within, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
		if err = b.settle(within, group); err != nil {
			for _, r := range group {
				r.answer(0, unknown(err))
			}
		}
	case len(group) > 1 && refused(err) && !repeatable(err): // of one, and not of the others
		for _, r := range group {
			b.work(ctx, []*request{r})
		}
	default:
		if left != nil {
			err = left
		}
		for _, r := range group {
			r.answer(0, failed(err))
		}
	}
}

// over returns why a caller waits no longer, or nil if it does. A connection notices a
// deadline before its context does.
func over(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// giveUp fails the requests of a group that may have been done, and cannot be settled
// because they have no ID. It returns the others.
func giveUp(group []*request, err error) (others []*request) {
	for _, r := range group {
		if r.identified() {
			others = append(others, r)
		} else {
			r.answer(0, unknown(err))
		}
	}
	return others
}

// settle repeats write sets that may have been done, by their IDs. Should the first attempt
// still be under way, one of the two finds the other's ID and does nothing.
func (b *Backend) settle(ctx context.Context, group []*request) error {
	if len(group) == 0 {
		return nil
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := b.tries(ctx, group)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// tries does a group, again where nothing of it was done for a reason that passes.
func (b *Backend) tries(ctx context.Context, group []*request) error {
	judged := !simple(group, b.now())
	for attempt := 1; ; attempt++ {
		err := b.attempt(ctx, group, judged)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errRepeated):
			judged = true
			continue
		case errors.As(err, new(lost)), attempt == mostAttempts, !repeatable(err), ctx.Err() != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond << attempt):
		}
	}
}

// simple reports whether a group has puts alone, whatever is in the table.
func simple(group []*request, now int64) bool {
	for _, r := range group {
		if !r.puts {
			return false
		}
		for i := range r.writes.Ops {
			if at := durable.Millis(r.writes.Ops[i].ExpiresAt); at != 0 && at <= now {
				return false
			}
		}
	}
	return true
}

// attempt does a group in one transaction and answers it, or returns why it is not
// done, or that its outcome is unknown.
func (b *Backend) attempt(ctx context.Context, group []*request, judged bool) error {
	conn, err := b.acquire(ctx, &b.lanes.write)
	if err != nil {
		return err
	}
	defer conn.Release() // which closes it where a transaction is open
	if judged {
		return b.judge(ctx, conn, group)
	}
	return b.put(ctx, conn, group)
}

// put does a group of puts in one statement, which is its own transaction.
func (b *Backend) put(ctx context.Context, conn *conn, group []*request) error {
	text, args := b.puts(group)
	drawn, version, err := b.ask(ctx, conn, text, args)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // how transactions are isolated is not as it has to be
		if b.explicit.Swap(true) {
			return storage.Errorf(storage.Internal, "the server did not begin the transaction with the requested isolation level")
		}
		return b.put(ctx, conn, group)
	case err != nil && stateOf(err) == stateUnique:
		return errRepeated
	case err != nil:
		return maybeLost(err)
	}
	b.gave(drawn-1, version)
	for i, r := range group {
		r.answer(version-uint64(len(group)-1-i), nil)
	}
	return nil
}

// ask asks the statement of a group of puts, within a transaction where that has to be.
func (b *Backend) ask(ctx context.Context, conn *conn, text string, args []any) (drawn, version uint64, err error) {
	var d, v int64
	if !b.explicit.Load() {
		end, _ := ctx.Deadline()
		err = conn.until(ctx, end, func(ctx context.Context) error {
			return conn.QueryRow(ctx, text, args...).Scan(&d, &v)
		})
		return uint64(d), uint64(v), err
	}
	batch := &pgx.Batch{}
	batch.Queue(begin)
	batch.Queue(text, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&d, &v) })
	batch.Queue(commit)
	err = conn.SendBatch(ctx, batch).Close()
	return uint64(d), uint64(v), err
}

const (
	begin  = "begin isolation level read committed"
	commit = "commit"
)

// puts returns the statement of a group of puts, and its arguments. Of two puts of one key the
// later counts, because no reader could see the other.
func (b *Backend) puts(group []*request) (text string, args []any) {
	seen := int64(b.seen.Load())
	if w := group[0].writes; len(group) == 1 && len(w.Ops) == 1 {
		o := &w.Ops[0]
		args := []any{seen, filled(o.Key), filled(o.Value), durable.Millis(o.ExpiresAt)}
		text = b.sql.putOne
		if group[0].identified() {
			text, args = b.sql.putKnown, append(args, w.ID[:], group[0].digest[:])
		}
		if b.logs {
			args = append(args, recordOf(w, 0), b.now())
		}
		return text, args
	}
	rows, at := rows{}, map[string]int{}
	ids, digests, idsBack := [][]byte{}, [][]byte{}, []int64{}
	records, recordsBack := [][]byte{}, []int64{}
	for nth, r := range group {
		back := int64(len(group) - 1 - nth)
		for i := range r.writes.Ops {
			o := &r.writes.Ops[i]
			rows.put(at, o.Key, o.Value, durable.Millis(o.ExpiresAt), back)
		}
		if r.identified() {
			ids, digests, idsBack = append(ids, r.writes.ID[:]), append(digests, r.digest[:]), append(idsBack, back)
		}
		if b.logs {
			records, recordsBack = append(records, recordOf(r.writes, 0)), append(recordsBack, back)
		}
	}
	args = []any{seen, rows.keys, rows.values, rows.expires, rows.versions, ids, digests, idsBack, int64(len(group))}
	if b.logs {
		args = append(args, records, recordsBack, b.now())
	}
	return b.sql.putMany, args
}

// recordOf returns the record of what a write set changes, of which what has expired by now, in ms,
// is a delete.
func recordOf(w *storage.WriteSet, now int64) []byte {
	size := 0
	for i := range w.Ops {
		size += len(w.Ops[i].Key) + len(w.Ops[i].End) + len(w.Ops[i].Value) + 24
	}
	record := make([]byte, 0, size)
	for i := range w.Ops {
		record = durable.AppendChange(record, &w.Ops[i], now)
	}
	return record
}

// rows holds items to be put, column by column.
type rows struct {
	keys, values      [][]byte
	expires, versions []int64
}

// put adds an item, or replaces the one with its key; at has where each is.
func (r *rows) put(at map[string]int, key, value []byte, expires, version int64) {
	i, ok := at[string(key)]
	if !ok {
		at[string(key)] = len(r.keys)
		r.keys, r.values = append(r.keys, filled(key)), append(r.values, filled(value))
		r.expires, r.versions = append(r.expires, expires), append(r.versions, version)
		return
	}
	r.values[i], r.expires[i], r.versions[i] = filled(value), expires, version
}

// filled returns b, and never nil, which would be SQL's null.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// gave notes that versions up to one were given, where the server's before that was had.
func (b *Backend) gave(had, version uint64) {
	for {
		seen := b.seen.Load()
		if version <= seen || b.seen.CompareAndSwap(seen, version) {
			break
		}
	}
	if before := b.wear.version.Swap(version); before > had {
		b.forgot(had, before)
	}
}

// forgot handles the loss of versions that this host has seen: an older state came back, from a
// replica that was behind or from a copy. Caches of the store must be dropped.
func (b *Backend) forgot(had, before uint64) {
	b.log.Error("the server has lost acknowledged writes: its version went back", "from", before, "to", had)
	info := *b.info.Load()
	info.Incarnation = incarnation()
	b.info.Store(&info)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.config.Timeouts.Connect))
	defer cancel()
	if _, err := b.lanes.pools[0].Exec(ctx, b.tables.fill(`update {lock} set incarnation = $1::bytea`)[0], info.Incarnation[:]); err != nil {
		b.log.Warn("the new incarnation is not in the table", "error", failed(err))
	}
	if !b.logs {
		return
	}
	for _, text := range b.tables.fill(`delete from {log} where version < (select max(version) from {log})`, `delete from {changes} where version < (select min(version) from {log})`) {
		if _, err := b.lanes.pools[0].Exec(ctx, text); err != nil { // a lost version must not be followed from
			b.log.Warn("followers of what was lost are not told", "error", failed(err))
		}
	}
}
