package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/plinthkv/plinth/storage"
)

// lost is that a transaction's answer did not come: it may have been committed.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// maybeLost is an error of sending a commit: the server says that it is not done, or nothing was
// sent, or it is lost.
func maybeLost(err error) error {
	if refused(err) || pgconn.SafeToRetry(err) || errors.As(err, new(pgx.ErrPreprocessingBatch)) {
		return err
	}
	return lost{err}
}

// errRepeated is that an ID of a group was used before, so that the group has to be judged.
var errRepeated = errors.New("an ID is known")

// mostAttempts is how often a group is tried of which nothing was done.
const mostAttempts = 8

// work does a group and answers it, within the time that the configuration gives.
func (b *Backend) work(group []*request) {
	limit := time.Duration(b.config.Timeouts.Write)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	err := b.tries(ctx, group)
	cancel()
	if errors.As(err, new(lost)) {
		group = b.giveUp(group, err)
		ctx, cancel = context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err = b.settle(ctx, group); err != nil {
			for _, r := range group {
				r.answer(0, unknown(err))
			}
		}
		return
	}
	switch {
	case err == nil:
	case len(group) > 1 && refused(err) && !repeatable(err): // of one, and not of the others
		for _, r := range group {
			b.work([]*request{r})
		}
	default:
		b.wear.failed(err)
		for _, r := range group {
			r.answer(0, failed(err))
		}
	}
}

// giveUp answers those of a group that may have been done, and cannot be settled: they have no
// ID. It answers the others.
func (b *Backend) giveUp(group []*request, err error) (others []*request) {
	b.wear.failed(err)
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
			if at := millis(r.writes.Ops[i].ExpiresAt); at != 0 && at <= now {
				return false
			}
		}
	}
	return true
}

// attempt does a group in one transaction and answers it, or answers why it is not done, or
// that it is lost whether it is.
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

// put does a group of puts in one round trip: a lock, one statement, and the commit.
func (b *Backend) put(ctx context.Context, conn *conn, group []*request) error {
	batch, explicit := &pgx.Batch{}, b.explicit.Load()
	if explicit {
		batch.Queue(begin)
	}
	batch.Queue(b.sql.lock)
	b.queuePuts(batch, group)
	if explicit {
		batch.Queue(commit)
	}
	results := conn.SendBatch(ctx, batch)
	had, version, err := readVersions(results, explicit)
	if closed := results.Close(); err == nil || closed != nil && errors.Is(err, pgx.ErrNoRows) {
		err = closed
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows): // how transactions are isolated is not as it has to be
		if explicit {
			return storage.Errorf(storage.Internal, "the server does not begin a transaction as it is told")
		}
		b.explicit.Store(true)
		return b.put(ctx, conn, group)
	case err != nil && stateOf(err) == stateUnique:
		return errRepeated
	case err != nil:
		return maybeLost(err)
	}
	first := version
	if len(group) == 1 && b.one(group) {
		first--
	}
	b.gave(had, first+uint64(len(group)))
	for i, r := range group {
		r.answer(first+1+uint64(i), nil)
	}
	return nil
}

const (
	begin  = "begin isolation level read committed"
	commit = "commit"
)

// one reports whether a group is the put of one key, without an ID.
func (b *Backend) one(group []*request) bool {
	return len(group) == 1 && len(group[0].writes.Ops) == 1 && !group[0].identified()
}

// queuePuts adds the statement of a group of puts. Of two puts of one key the later counts:
// nobody could see the other.
func (b *Backend) queuePuts(batch *pgx.Batch, group []*request) {
	if b.one(group) {
		o := &group[0].writes.Ops[0]
		batch.Queue(b.sql.putOne, int64(b.seen.Load()), filled(o.Key), filled(o.Value), millis(o.ExpiresAt))
		return
	}
	var rows rows
	at := map[string]int{}
	var ids, digests [][]byte
	var idsNth []int64
	for nth, r := range group {
		for i := range r.writes.Ops {
			o := &r.writes.Ops[i]
			rows.put(at, o.Key, o.Value, millis(o.ExpiresAt), int64(nth)+1)
		}
		if r.identified() {
			ids, digests, idsNth = append(ids, r.writes.ID[:]), append(digests, r.digest[:]), append(idsNth, int64(nth)+1)
		}
	}
	batch.Queue(b.sql.putMany, int64(b.seen.Load()), rows.keys, rows.values, rows.expires, rows.versions, filledAll(ids), filledAll(digests), idsNth, int64(len(group)))
}

// rows are items to be put, column by column.
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

// filled is b, and not nil, which would be SQL's null.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func filledAll(b [][]byte) [][]byte {
	if b == nil {
		return [][]byte{}
	}
	return b
}

// readVersions reads the answers of put: the version before it, and the one that its statement
// answers.
func readVersions(results pgx.BatchResults, explicit bool) (had, version uint64, err error) {
	before := 1 // the lock
	if explicit {
		before++
	}
	for range before {
		if _, err := results.Exec(); err != nil {
			return 0, 0, err
		}
	}
	var h, v int64
	err = results.QueryRow().Scan(&h, &v)
	return uint64(h), uint64(v), err
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

// forgot is told that the server had lost versions that were given here: an older state came
// back, from a replica that was behind or from a copy. What is cached of it is not to be used.
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
}
