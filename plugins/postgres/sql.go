package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// tables holds the quoted names of a store's tables.
type tables struct {
	items string // key → value, version, expiry
	lock  string // one row: the schema version and the incarnation; every writer locks its name
	take  string // takes that lock until the transaction ends
	log   string // the versions of the latest groups of writes; the greatest is the store's
	ids   string // IDs of write sets → their outcomes
	// changes has what each of the latest versions changed, if the store keeps that: a record, and
	// when it was written, in ms. The first is the version that the others follow. No version can
	// be in log without one, whoever writes.
	changes string
	// number is the sequence that versions are drawn from, by whoever has the lock, as a literal of
	// SQL. What was drawn for a write that failed is left out.
	number string
}

// tablesOf returns those of a configured name, which Validate has checked.
func tablesOf(name string) tables {
	quoted := func(suffix string) string {
		parts := strings.Split(name+suffix, ".")
		return `"` + strings.Join(parts, `"."`) + `"`
	}
	return tables{items: quoted(""), lock: quoted("_lock"), log: quoted("_log"), ids: quoted("_ids"), changes: quoted("_changes"), number: "'" + quoted("_number") + "'::regclass",
		take: fmt.Sprintf("pg_advisory_xact_lock(%d + '%s'::regclass::oid::bigint)", lockSpace, quoted("_lock"))}
}

// lockSpace keeps our advisory locks apart from those of others: "PLNT", and the number of the
// table after it.
const lockSpace = 0x504C4E54 << 32

// sequence returns the quoted name of the sequence.
func (t tables) sequence() string { return strings.TrimSuffix(t.number[1:], "'::regclass") }

// schema is the number of this layout, which is in the table: whoever changes any of it counts
// that up.
const schema = 1

// create returns the statements that make an empty store; $1 is an incarnation, $2 the first
// version.
func (t tables) create() []string {
	return t.fill(
		`create table {items} (key bytea not null primary key, value bytea not null, version bigint not null, expires bigint not null) with (fillfactor = 90)`,
		`create index on {items} (expires) where expires > 0`,
		`create table {lock} (one boolean not null primary key check (one), schema integer not null, incarnation bytea not null)`,
		`create sequence `+t.sequence(),
		`create table {log} (version bigint not null primary key)`,
		`create table {ids} (id bytea not null primary key, digest bytea not null, version bigint not null)`,
		`create index on {ids} (version)`,
	)
}

// createChanges returns the statements that have a store keep its changes from now on; $1 is the
// time in ms. They are for a transaction that has the lock.
func (t tables) createChanges() []string {
	return t.fill(
		`create table {changes} (version bigint not null primary key, at bigint not null, record bytea not null)`,
		`insert into {changes} (version, at, record) select max(version), $1::bigint, ''::bytea from {log}`,
		`delete from {log} where version < (select max(version) from {log})`,
		`alter table {log} add foreign key (version) references {changes} (version)`,
	)
}

func (t tables) fill(texts ...string) []string {
	r := strings.NewReplacer("{items}", t.items, "{lock}", t.lock, "{log}", t.log, "{ids}", t.ids, "{changes}", t.changes, "{number}", t.number, "{take}", t.take, "{lapsed}", strconv.Itoa(lapsedBefore), "{notify}", fmt.Sprintf("pg_notify('%s' || '%s'::regclass::oid::text, '')", newsChannels, t.lock))
	for i := range texts {
		texts[i] = r.Replace(texts[i])
	}
	return texts
}

// statements holds the texts of what a backend asks, each prepared once on a connection.
type statements struct {
	get, many, version     string
	scan                   [4]string // by scanKind
	lock, draw             string
	putOne, putKnown       string // of one key, without an ID and with one
	putMany                string
	look, lookValues, used string
	anyNewer               string
	remove, removeRange    string
	lapse, lapseRange      string
	insert, note           string
	remember               string
	collect, trim, forget  string

	changes, record, notify            string // of changes; those of puts write theirs themselves
	overdue, expired, oldRecords, drop string
}

// scanKind returns which of the statements of scans a query needs.
func scanKind(reverse, keysOnly bool) (kind int) {
	if reverse {
		kind |= 1
	}
	if keysOnly {
		kind |= 2
	}
	return kind
}

// statements returns those of a store; logs: it keeps its changes.
func (t tables) statements(logs bool) *statements {
	one := func(text string) string { return t.fill(text)[0] }
	logged := func(cte string) string { // a part of a statement that writes a record
		if !logs {
			return ""
		}
		return cte
	}
	answer := "select drawn, version from next"
	if logs {
		answer = "select drawn, version from (select drawn, version, {notify} from next) told"
	}
	s := &statements{
		get: one(`select value, version, expires from {items} where key = $1`),
		// before is how many bytes of the answer precede a row: no more are sent than $3 and one row.
		many: one(`select key, value, version, expires from
			(select *, sum(octet_length(value)) over (rows unbounded preceding) - octet_length(value) as before
				from {items} where key = any($1::bytea[]) and (expires = 0 or expires > $2)) rows
			where before <= $3`),
		version: one(`select version from {log} order by version desc limit 1`),
		lock:    one(`select {take}`),
		draw:    one(`select setval({number}, $1::bigint)`),
		// These take the lock and draw versions in one statement, whose snapshot is older than the
		// lock: nothing in it reads what another writer may have changed, but for the rows that it
		// replaces, of which it sees the latest. That is so where each statement has a snapshot of its
		// own. Where the server's default is another, there is no row, and nothing is done.
		putOne: one(putText(logged(`changed as (insert into {changes} (version, at, record) select version, $6::bigint, $5::bytea from next),`), answer)),
		putKnown: one(putText(`known as (insert into {ids} (id, digest, version) select $5::bytea, $6::bytea, version from next),`+
			logged(`changed as (insert into {changes} (version, at, record) select version, $8::bigint, $7::bytea from next),`), answer)),
		putMany: one(`with locked as (select {take} where current_setting('transaction_isolation') = 'read committed'),
			drawn as (select nextval({number}) as drawn from locked),
			next as (select drawn, setval({number}, greatest(drawn, $1::bigint + 1) + $9::bigint - 1) as version from drawn),
			put as (insert into {items} (key, value, version, expires)
				select p.key, p.value, next.version - p.back, p.expires from next, unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[]) as p (key, value, expires, back)
				on conflict (key) do update set value = excluded.value, version = excluded.version, expires = excluded.expires),
			known as (insert into {ids} (id, digest, version)
				select p.id, p.digest, next.version - p.back from next, unnest($6::bytea[], $7::bytea[], $8::bigint[]) as p (id, digest, back)),
			` + logged(`changed as (insert into {changes} (version, at, record)
				select next.version - p.back, $12::bigint, p.record from next, unnest($10::bytea[], $11::bigint[]) as p (record, back)),
			`) + `noted as (insert into {log} (version) select version from next)
			` + answer),
		look:        one(`select key, version, expires, null::bytea from {items} where key = any($1::bytea[])`),
		lookValues:  one(`select key, version, expires, sha256(value) from {items} where key = any($1::bytea[])`),
		used:        one(`select id, digest, version from {ids} where id = any($1::bytea[])`),
		anyNewer:    one(`select exists (select from {items} where key >= $1 and key < $2 and version > $3 and (expires = 0 or expires > $4))`),
		remove:      one(`delete from {items} where key = any($1::bytea[])`),
		removeRange: one(`delete from {items} where key >= $1 and key < $2`),
		lapse:       one(`update {items} set expires = expires / 1000 where key = any($1::bytea[]) and expires >= {lapsed} and expires <= $2`),
		lapseRange:  one(`update {items} set expires = expires / 1000 where key >= $1 and key < $2 and expires >= {lapsed} and expires <= $3`),
		insert: one(`insert into {items} (key, value, version, expires)
			select * from unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[])
			on conflict (key) do update set value = excluded.value, version = excluded.version, expires = excluded.expires`),
		note:     one(`insert into {log} (version) values ($1)`),
		remember: one(`insert into {ids} (id, digest, version) select * from unnest($1::bytea[], $2::bytea[], $3::bigint[])`),
		collect: one(`delete from {items} where expires > 0 and expires <= $1 and key = any(array(
			select key from {items} where expires > 0 and expires <= $1 order by expires limit $2 for update skip locked))`),
		trim: one(`delete from {log} where version = any(array(
			select version from {log} where version < (select max(version) from {log}) order by version limit $1))`),
		forget: one(`delete from {ids} where id = any(array(
			select id from {ids} where version < (select version from {ids} order by version desc offset $1 limit 1) and version < $2 order by version limit $3))`),
		changes: one(`select v.oldest, v.version, p.version, p.record from (select (select min(version) from {changes}) as oldest, (select max(version) from {log}) as version) v
			left join lateral (select * from
				(select version, record, sum(octet_length(record)) over (order by version rows unbounded preceding) - octet_length(record) as before
					from (select version, record from {changes} where version > $1 order by version limit $2) first) sized
				where before <= $3 order by version) p on true`),
		record:  one(`insert into {changes} (version, at, record) select p.version, $3::bigint, p.record from unnest($1::bigint[], $2::bytea[]) as p (version, record)`),
		notify:  one(`select {notify}`),
		overdue: one(`select exists (select from {items} where expires > 0 and expires <= $1 and (expires >= {lapsed} or expires <= $2))`),
		expired: one(`delete from {items} where key = any(array(
			select key from {items} where expires > 0 and expires <= $1 and (expires >= {lapsed} or expires <= $2) order by expires limit $3)) returning key`),
		oldRecords: one(`select version, at from {changes} order by version limit $1`),
		drop:       one(`delete from {changes} where version < $1 and version < (select min(version) from {log})`),
	}
	for kind := range s.scan {
		s.scan[kind] = one(scanText(kind&1 != 0, kind&2 != 0))
	}
	return s
}

// putText puts one key; more is a part of the statement, and answer its end.
func putText(more, answer string) string {
	return `with locked as (select {take} where current_setting('transaction_isolation') = 'read committed'),
		drawn as (select nextval({number}) as drawn from locked),
		next as (select drawn, case when drawn > $1::bigint then drawn else setval({number}, $1::bigint + 1) end as version from drawn),
		put as (insert into {items} (key, value, version, expires) select $2::bytea, $3::bytea, version, $4::bigint from next
			on conflict (key) do update set value = excluded.value, version = excluded.version, expires = excluded.expires),
		` + more + `
		noted as (insert into {log} (version) select version from next)
		` + answer
}

// scanText returns a page of at most $4 rows of [$1, $2), with what has expired at $3, and the
// version of the same state. Rows end with the first that does not fit into $5 bytes, which is
// there without its value, and not as one that fits.
func scanText(reverse, keysOnly bool) string {
	text := `select v.version, p.key, case when p.fits then p.value end, p.version, p.expires, p.fits, p.live
		from (select version from {log} order by version desc limit 1) v left join lateral (
			select key, value, version, expires, live, live and (before + size <= $5 or before = 0) as fits
			from (select *, sum(size) over (rows unbounded preceding) - size as before
				from (select key, {value} as value, version, expires, live, case when live then {size} else 0 end as size
					from (select *, expires = 0 or expires > $3 as live from {items} where key >= $1 and key < $2 order by key {order} limit $4) a) b) c
			where before <= $5) p on true`
	order, value, size := "", "value", "octet_length(key) + octet_length(value)"
	if reverse {
		order = "desc"
	}
	if keysOnly {
		value, size = "null::bytea", "octet_length(key)"
	}
	return strings.NewReplacer("{order}", order, "{value}", value, "{size}", size).Replace(text)
}
