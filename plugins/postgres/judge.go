package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// entry is what is at a key, as far as checks ask.
type entry struct {
	live    bool
	over    bool // it has expired, and is in the table
	version uint64
	value   []byte // of a put of this group
	hash    []byte // of a value in the table, where a check needs it
}

// holds reports whether the value is v.
func (e *entry) holds(v []byte) bool {
	if e.hash == nil {
		return bytes.Equal(e.value, v)
	}
	hash := sha256.Sum256(v)
	return bytes.Equal(e.hash, hash[:])
}

// known is what an ID was used for.
type known struct {
	digest  [16]byte
	version uint64
}

// judgement holds a group that is judged, and what of it is to be written.
type judgement struct {
	b       *Backend
	now     int64
	had     uint64 // the server's version before
	version uint64 // of the last write set

	entries map[string]*entry // of the keys that are asked for
	used    map[[16]byte]known
	hits    []bool // of the ranges of the write set that is judged

	puts    rows
	at      map[string]int
	removes map[string]bool
	ranges  []storage.Op
	lapsed  []storage.Op // that removed nothing but what had expired
	ids     []*request
	records [][]byte // of the changes of versions that are new, if the store keeps them
	made    []int64  // those versions
	answers []func() // of the group, once it is committed
}

// judge does a group in one transaction: the lock, what the write sets ask for, their
// judgement one after the other, what they write, and the commit. Write sets with ranges are
// judged on what the table has, after those before them are written.
func (b *Backend) judge(ctx context.Context, conn *conn, group []*request) error {
	j := &judgement{b: b, now: b.now(), used: map[[16]byte]known{}}
	j.forget()
	batch := &pgx.Batch{}
	j.begin(batch)
	for len(group) > 0 {
		n := segment(group)
		j.ask(batch, group[:n])
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return err // nothing is committed
		}
		for _, r := range group[:n] {
			j.one(r)
		}
		group = group[n:]
		batch = &pgx.Batch{}
		j.write(batch)
	}
	j.end(batch)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return maybeLost(err)
	}
	b.gave(j.had, j.version)
	for _, answer := range j.answers {
		answer()
	}
	return nil
}

// segment returns how many of a group are judged together: all up to one with ranges, or that alone.
func segment(group []*request) int {
	for i, r := range group {
		if r.ranges {
			return max(i, 1)
		}
	}
	return len(group)
}

// forget drops what is known of the table.
func (j *judgement) forget() {
	j.entries, j.hits = map[string]*entry{}, nil
	j.puts, j.at, j.removes, j.ranges, j.lapsed = rows{}, map[string]int{}, map[string]bool{}, nil, nil
}

// begin opens the transaction, takes the lock and reads the version.
func (j *judgement) begin(batch *pgx.Batch) {
	batch.Queue(begin)
	// A writer that is gone does not keep the others waiting until they give up.
	batch.Queue(fmt.Sprintf("set local idle_in_transaction_session_timeout = %d", time.Duration(j.b.config.Timeouts.Write).Milliseconds()/2))
	batch.Queue(j.b.sql.lock)
	batch.Queue(j.b.sql.version).QueryRow(func(row pgx.Row) error {
		var version int64
		if err := row.Scan(&version); err != nil {
			return err
		}
		j.had = uint64(version)
		if j.version = j.had; j.had < j.b.wear.version.Load() { // the server has lost some
			j.version = j.b.seen.Load()
		}
		return nil
	})
}

// ask adds the questions of write sets that are judged together.
func (j *judgement) ask(batch *pgx.Batch, group []*request) {
	var keys, values, ids [][]byte
	for _, r := range group {
		if r.identified() {
			ids = append(ids, r.writes.ID[:])
		}
		for i := range r.writes.Checks {
			switch c := &r.writes.Checks[i]; c.Kind {
			case storage.CheckRange:
				j.askRange(batch, c.Key, c.End, c.Version)
			case storage.CheckValue:
				values = append(values, filled(c.Key))
			default:
				keys = append(keys, filled(c.Key))
			}
		}
		for i := range r.writes.Ops {
			switch o := &r.writes.Ops[i]; {
			case o.Kind == storage.OpDeleteRange:
				j.askRange(batch, o.Key, o.End, 0)
			case o.Kind == storage.OpDelete, o.Kind == storage.OpPut && j.over(o):
				keys = append(keys, filled(o.Key))
			}
		}
	}
	j.askKeys(batch, j.b.sql.look, keys)
	j.askKeys(batch, j.b.sql.lookValues, values)
	if len(ids) > 0 {
		batch.Queue(j.b.sql.used, ids).Query(j.readUsed)
	}
}

// over reports whether a put has expired already, so that it removes the key.
func (j *judgement) over(o *storage.Op) bool {
	at := durable.Millis(o.ExpiresAt)
	return at != 0 && at <= j.now
}

// askRange asks whether a live item in a range is newer than a version.
func (j *judgement) askRange(batch *pgx.Batch, start, end []byte, version uint64) {
	nth := len(j.hits)
	j.hits = append(j.hits, false)
	if storage.EmptyRange(start, end) {
		return
	}
	batch.Queue(j.b.sql.anyNewer, filled(start), endOf(end), int64(min(version, 1<<63-1)), j.now).QueryRow(func(row pgx.Row) error { return row.Scan(&j.hits[nth]) })
}

// endOf returns the end of a range; nil is behind all keys.
func endOf(end []byte) []byte {
	if end == nil {
		return behindAll
	}
	return end
}

var behindAll = bytes.Repeat([]byte{0xFF}, mostKey+1)

func (j *judgement) askKeys(batch *pgx.Batch, text string, keys [][]byte) {
	if len(keys) == 0 {
		return
	}
	batch.Queue(text, keys).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key, hash []byte
			var version, expires int64
			if err := rows.Scan(&key, &version, &expires, &hash); err != nil {
				return err
			}
			if j.entries[string(key)] == nil || hash != nil {
				j.entries[string(key)] = &entry{live: expires == 0 || expires > j.now, over: expires >= lapsedBefore && expires <= j.now, version: uint64(version), hash: hash}
			}
		}
		return rows.Err()
	})
}

func (j *judgement) readUsed(rows pgx.Rows) error {
	for rows.Next() {
		var id, digest []byte
		var version int64
		if err := rows.Scan(&id, &digest, &version); err != nil {
			return err
		}
		if len(id) != 16 || len(digest) != 16 {
			return storage.Errorf(storage.Internal, "an ID in the table is damaged")
		}
		j.used[[16]byte(id)] = known{[16]byte(digest), uint64(version)}
	}
	return rows.Err()
}

// one judges a write set, and notes its writes and its outcome.
func (j *judgement) one(r *request) {
	version, err := j.verdict(r)
	j.answers = append(j.answers, func() { r.answer(version, err) })
}

func (j *judgement) verdict(r *request) (uint64, error) {
	if k, ok := j.used[r.writes.ID]; ok && r.identified() {
		if k.digest != r.digest {
			return 0, storage.Errorf(storage.InvalidArgument, "the ID of the write set was used for another content")
		}
		return k.version, nil
	}
	hits := j.hits
	for i := range r.writes.Checks {
		c := &r.writes.Checks[i]
		if c.Kind == storage.CheckRange {
			hit := hits[0]
			hits = hits[1:]
			if hit {
				return 0, storage.ConflictAt(i)
			}
		} else if !j.meets(c) {
			return 0, storage.ConflictAt(i)
		}
	}
	if j.changes(r, hits) {
		j.version = max(j.version, j.b.seen.Load()) + 1
		j.note(r)
		if j.b.logs {
			j.records, j.made = append(j.records, recordOf(r.writes, j.now)), append(j.made, int64(j.version))
		}
	} else {
		j.lapse(r)
	}
	if r.identified() {
		j.ids = append(j.ids, r)
		j.used[r.writes.ID] = known{r.digest, j.version}
	}
	return j.version, nil
}

// meets reports whether a check of a key holds.
func (j *judgement) meets(c *storage.Check) bool {
	e := j.entries[string(c.Key)]
	live := e != nil && e.live
	switch c.Kind {
	case storage.CheckAbsent:
		return !live
	case storage.CheckPresent:
		return live
	case storage.CheckVersion:
		return live && e.version == c.Version
	}
	return live && e.holds(c.Value)
}

// changes reports whether a write set changes what readers see. hits says which of its range
// deletes have removed something.
func (j *judgement) changes(r *request, hits []bool) bool {
	if r.lives > j.now {
		return true
	}
	for i := range r.writes.Ops {
		o := &r.writes.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			if hits[0] {
				return true
			}
			hits = hits[1:]
		} else if e := j.entries[string(o.Key)]; e != nil && e.live {
			return true
		}
	}
	return false
}

// note has the ops of a write set be written, and those after it see them.
func (j *judgement) note(r *request) {
	for i := range r.writes.Ops {
		o := &r.writes.Ops[i]
		switch {
		case o.Kind == storage.OpDeleteRange:
			j.ranges = append(j.ranges, *o)
		case o.Kind == storage.OpPut && !j.over(o):
			delete(j.removes, string(o.Key))
			j.puts.put(j.at, o.Key, o.Value, durable.Millis(o.ExpiresAt), int64(j.version))
			j.entries[string(o.Key)] = &entry{live: true, version: j.version, value: o.Value}
		default:
			j.removes[string(o.Key)] = true
			j.entries[string(o.Key)] = &entry{}
		}
	}
}

// lapse has the rows that a write set removes be removed, if all of them have expired. That is no
// change to readers here. But hosts whose clock is right must not show them: those that run with
// this one, whose clock may be ahead, and this one once it starts anew.
func (j *judgement) lapse(r *request) {
	for i := range r.writes.Ops {
		o := &r.writes.Ops[i]
		if e := j.entries[string(o.Key)]; o.Kind == storage.OpDeleteRange && !storage.EmptyRange(o.Key, o.End) || o.Kind != storage.OpDeleteRange && e != nil && e.over {
			j.lapsed = append(j.lapsed, *o)
		}
	}
}

// lapsedBefore separates rows that were removed after they had expired from others: their expiry is
// in seconds, that of others in ms. By every clock such a row has expired long ago; it is collected,
// and is in the changes, when it would have been if it had not been removed.
const lapsedBefore = 100_000_000_000

// write adds the statements that write what was noted.
func (j *judgement) write(batch *pgx.Batch) {
	var keys [][]byte
	for i := range j.lapsed { // before puts of the same keys
		if o := &j.lapsed[i]; o.Kind == storage.OpDeleteRange {
			batch.Queue(j.b.sql.lapseRange, filled(o.Key), endOf(o.End), j.now)
		} else {
			keys = append(keys, filled(o.Key))
		}
	}
	if len(keys) > 0 {
		batch.Queue(j.b.sql.lapse, keys, j.now)
	}
	for i := range j.ranges {
		batch.Queue(j.b.sql.removeRange, filled(j.ranges[i].Key), endOf(j.ranges[i].End))
	}
	if len(j.puts.keys) > 0 { // what is removed afterwards is put and removed
		batch.Queue(j.b.sql.insert, j.puts.keys, j.puts.values, j.puts.versions, j.puts.expires)
	}
	if len(j.removes) > 0 {
		keys := make([][]byte, 0, len(j.removes))
		for key := range j.removes {
			keys = append(keys, []byte(key))
		}
		batch.Queue(j.b.sql.remove, keys)
	}
	j.forget()
}

// end adds the version and the IDs of the group, and the commit. The version goes up for
// whatever there is to be seen or remembered.
func (j *judgement) end(batch *pgx.Batch) {
	if j.version > j.had && j.b.logs {
		if n := len(j.made); n == 0 || j.made[n-1] != int64(j.version) { // it went up because some were lost
			j.records, j.made = append(j.records, []byte{}), append(j.made, int64(j.version))
		}
		batch.Queue(j.b.sql.record, j.made, j.records, j.now)
		batch.Queue(j.b.sql.notify)
	}
	if j.version > j.had {
		batch.Queue(j.b.sql.note, int64(j.version))
		batch.Queue(j.b.sql.draw, int64(j.version))
	}
	if len(j.ids) > 0 {
		var ids, digests [][]byte
		var versions []int64
		for _, r := range j.ids {
			ids, digests = append(ids, r.writes.ID[:]), append(digests, r.digest[:])
			versions = append(versions, int64(j.used[r.writes.ID].version))
		}
		batch.Queue(j.b.sql.remember, ids, digests, versions)
	}
	batch.Queue(commit)
}
