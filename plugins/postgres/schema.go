package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// oldest is the oldest server that is supported, and page the smallest of its pages: keys have
// to fit into a third of one.
const (
	oldest = 14
	page   = 8192
)

// facts holds what a server says of itself and of a store's tables.
type facts struct {
	number      int // 140005 is 14.5
	block       int
	commits     string // synchronous_commit
	fsync       string
	readOnly    bool
	found       int // of the four tables and the sequence
	columns     []string
	schema      int
	incarnation [16]byte
	version     uint64
	durable     bool
	changes     bool // there is a table of them
}

// columns lists the columns of the items of schema 1, with their types.
var columns = []string{"key bytea", "value bytea", "version bigint", "expires bigint"}

// inspect reads what the tables are, creates them where that is allowed, and reports why they
// cannot be used.
func (b *Backend) inspect(ctx context.Context) (*facts, error) {
	limit := time.Duration(b.config.Timeouts.Connect) + time.Duration(b.config.Timeouts.Read)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := b.acquire(ctx, &b.lanes.write)
	if err != nil {
		return nil, failed(err)
	}
	defer conn.Release()
	is, err := b.config.read(ctx, conn.Conn.Conn())
	if err == nil && is.found == 0 && b.config.Create {
		if _, err = b.config.make(ctx, conn.Conn.Conn(), b.clock()); err == nil {
			is, err = b.config.read(ctx, conn.Conn.Conn())
		}
	}
	if err == nil && b.config.Create && b.config.lacksChanges(is) {
		if _, err = b.config.makeChanges(ctx, conn.Conn.Conn(), b.clock()); err == nil {
			is, err = b.config.read(ctx, conn.Conn.Conn())
		}
	}
	if err != nil {
		return nil, failed(err)
	}
	return is, b.config.judge(is)
}

// read asks a server what it is and what the tables are.
func (c *Config) read(ctx context.Context, conn *pgx.Conn) (*facts, error) {
	t, is := tablesOf(c.Table), &facts{}
	err := conn.QueryRow(ctx, `select current_setting('server_version_num')::bigint, current_setting('block_size')::bigint, current_setting('synchronous_commit'),
		current_setting('fsync'), pg_is_in_recovery(), to_regclass($2::text) is not null, (select count(*) from unnest($1::text[]) as name where to_regclass(name) is not null)`,
		pgx.QueryExecModeExec, []string{t.items, t.lock, t.log, t.ids, t.sequence()}, t.changes).Scan(&is.number, &is.block, &is.commits, &is.fsync, &is.readOnly, &is.changes, &is.found)
	if err != nil {
		return nil, err
	}
	is.durable = is.commits != "off" && is.fsync != "off"
	if is.found != 5 {
		return is, nil
	}
	rows, err := conn.Query(ctx, `select attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = to_regclass($1::text) and attnum > 0 and not attisdropped order by attnum`, pgx.QueryExecModeExec, t.items)
	if err != nil {
		return nil, err
	}
	if is.columns, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, err
	}
	var incarnation []byte
	var version int64
	err = conn.QueryRow(ctx, t.fill(`select schema, incarnation, coalesce((select max(version) from {log}), 0) from {lock} where one`)[0], pgx.QueryExecModeExec).Scan(&is.schema, &incarnation, &version)
	if err != nil && stateOf(err) != "42703" && err != pgx.ErrNoRows { // a column is missing: it is another's
		return nil, err
	}
	copy(is.incarnation[:], incarnation)
	is.version = uint64(version)
	return is, nil
}

// judge reports why the tables of a server cannot be used.
func (c *Config) judge(is *facts) error {
	table := func(format string, args ...any) error { return sdk.ConfigErrorf("table", format, args...) }
	switch {
	case is.number < oldest*10_000:
		return sdk.ConfigErrorf("dsn", "the server is PostgreSQL %d.%d, and the oldest that is supported is %d", is.number/10_000, is.number%10_000, oldest)
	case is.block < page:
		return sdk.ConfigErrorf("dsn", "the server has pages of %d bytes: keys need %d", is.block, page)
	case is.found == 0:
		return table("the table %s does not exist: create it with plinth postgres init, or set create: true", c.Table)
	case is.found != 5 || !slices.Equal(is.columns, columns) && is.schema <= schema || is.schema == 0:
		return table("the table %s is not a store of Plinth: use another name", c.Table)
	case is.schema > schema:
		return table("the table %s has the schema %d, and this program knows those up to %d: it was created by a newer one", c.Table, is.schema, schema)
	case is.version == 0:
		return table("the table %s has lost its versions: %s_log is empty", c.Table, c.Table)
	case c.lacksChanges(is):
		return sdk.ConfigErrorf("changes", "the store keeps no changes: end all of its hosts and run plinth postgres init, or set create: true")
	}
	return nil
}

// lacksChanges reports whether a store is there, and not the table of its changes that is wanted.
func (c *Config) lacksChanges(is *facts) bool { return c.Changes && is.found == 5 && !is.changes }

// makeChanges creates the table of changes, or returns false if another host did.
func (c *Config) makeChanges(ctx context.Context, conn *pgx.Conn, now time.Time) (bool, error) {
	t := tablesOf(c.Table)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // after a commit it does nothing
	if _, err := tx.Exec(ctx, t.fill(`select {take}`)[0]); err != nil {
		return false, err
	}
	for _, text := range t.createChanges() {
		var args []any
		if strings.Contains(text, "$1") {
			args = append(args, now.UnixMilli())
		}
		if _, err := tx.Exec(ctx, text, args...); err != nil {
			if state := stateOf(err); state == stateExists || state == stateUnique { // at the same time
				return false, nil
			}
			return false, fmt.Errorf("creating the table %s_changes: %w", c.Table, err)
		}
	}
	return true, tx.Commit(ctx)
}

// make creates the tables, or returns false if another host did.
func (c *Config) make(ctx context.Context, conn *pgx.Conn, now time.Time) (bool, error) {
	t := tablesOf(c.Table)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // after a commit it does nothing
	for _, text := range t.create() {
		if _, err := tx.Exec(ctx, text); err != nil {
			if state := stateOf(err); state == stateExists || state == stateUnique { // at the same time
				return false, nil
			}
			return false, fmt.Errorf("creating the table %s: %w", c.Table, err)
		}
	}
	incarnation := make([]byte, 16)
	_, _ = rand.Read(incarnation) // it does not fail
	if _, err := tx.Exec(ctx, t.fill(`insert into {lock} (one, schema, incarnation) values (true, $1::bigint, $2::bytea)`)[0], int64(schema), incarnation); err != nil {
		return false, err
	}
	for _, text := range t.fill(`insert into {log} (version) values ($1::bigint)`, `select setval({number}, $1::bigint)`) {
		if _, err := tx.Exec(ctx, text, int64(storage.FirstVersion(now))); err != nil {
			return false, err
		}
	}
	return true, tx.Commit(ctx)
}

// Init creates the tables of the store that env's configuration names. It returns false
// if they exist already and are as they have to be.
func Init(ctx context.Context, env sdk.Env) (created bool, err error) {
	c, err := decode(env)
	if err != nil {
		return false, err
	}
	config, err := c.pool(c.DSN, 1, false)
	if err != nil {
		return false, err
	}
	within, cancel := context.WithTimeout(ctx, time.Duration(c.Timeouts.Connect)+2*time.Duration(c.Timeouts.Write))
	defer cancel()
	conn, err := pgx.ConnectConfig(within, config.ConnConfig)
	if err != nil {
		return false, failed(err)
	}
	defer conn.Close(context.WithoutCancel(within))
	is, err := c.read(within, conn)
	if err != nil {
		return false, failed(err)
	}
	if is.found == 0 && is.number >= oldest*10_000 && is.block >= page {
		if created, err = c.make(within, conn, env.WithDefaults().Now()); err != nil {
			return false, failed(err)
		}
		if is, err = c.read(within, conn); err != nil {
			return created, failed(err)
		}
	}
	if c.lacksChanges(is) {
		also, err := c.makeChanges(within, conn, env.WithDefaults().Now())
		if err != nil {
			return created, failed(err)
		}
		created, is.changes = created || also, true
	}
	return created, c.judge(is)
}
