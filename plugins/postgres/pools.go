package postgres

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/plinthkv/plinth/storage"
)

// writers is how many connections writes have: one for whoever writes, one for what has
// expired, one for questions about the tables.
const writers = 3

// lane is a part of the connections of a pool: whoever has one of another lane takes none away.
type lane struct {
	pool *pgxpool.Pool
	free chan struct{} // has as many as may be taken
	name string
}

func newLane(pool *pgxpool.Pool, most int, name string) lane {
	l := lane{pool: pool, free: make(chan struct{}, most), name: name}
	for range most {
		l.free <- struct{}{}
	}
	return l
}

// busy returns how many connections are taken.
func (l *lane) busy() int { return cap(l.free) - len(l.free) }

// conn is a connection of a lane.
type conn struct {
	*pgxpool.Conn
	lane *lane
}

// Release gives the connection back. One that is within a transaction is closed.
func (c *conn) Release() {
	c.Conn.Release()
	c.lane.free <- struct{}{}
}

// lanes holds the connections of a backend, by what they are for.
type lanes struct {
	pools             []*pgxpool.Pool // of the primary, and of the replica
	write, read, snap lane
}

// connections makes the pools, which connect when they are asked.
func (c *Config) connections() (l lanes, err error) {
	views := c.Snapshots + 1 // one that is not kept yet
	own, other := writers, c.Connections+views
	dsns := []string{c.DSN}
	if c.Replica != "" {
		dsns = append(dsns, c.Replica)
	} else {
		own += other
	}
	for i, dsn := range dsns {
		config, err := c.pool(dsn, []int{own, other}[i], i > 0)
		if err == nil {
			var pool *pgxpool.Pool
			if pool, err = pgxpool.NewWithConfig(context.Background(), config); err == nil {
				l.pools = append(l.pools, pool)
			}
		}
		if err != nil {
			l.close()
			return lanes{}, failed(err)
		}
	}
	reads := l.pools[len(l.pools)-1]
	l.write, l.read, l.snap = newLane(l.pools[0], writers, "writes"), newLane(reads, c.Connections, "reads"), newLane(reads, views, "snapshots")
	return l, nil
}

// pool returns the configuration of one.
func (c *Config) pool(dsn string, most int, readOnly bool) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, checkDSN("dsn", dsn)
	}
	config.MaxConns, config.MinConns, config.MinIdleConns = int32(most), 0, 0
	config.MaxConnIdleTime = 5 * time.Minute
	config.PingTimeout = time.Duration(c.Timeouts.Connect)
	c.connection(&config.ConnConfig.Config, readOnly)
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	if c.Prepared == preparedOn {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
		c.session(config.ConnConfig.RuntimeParams)
	}
	return config, nil
}

// session sets how the server treats a connection, unless the DSN says it. The server gives up
// abandoned statements, and gives up a wait for a lock before the client does: then it is
// certain that nothing was done.
func (c *Config) session(params map[string]string) {
	write := time.Duration(c.Timeouts.Write)
	longest := max(time.Duration(c.Timeouts.Read), time.Duration(c.Timeouts.Scan), write) + time.Second
	for name, d := range map[string]time.Duration{"statement_timeout": longest, "lock_timeout": write * 9 / 10,
		"idle_in_transaction_session_timeout": time.Duration(c.SnapshotLife) + time.Minute} {
		if params[name] == "" {
			params[name] = strconv.FormatInt(d.Milliseconds(), 10)
		}
	}
	if params["jit"] == "" { // compiling takes longer than any of the statements
		params["jit"] = "off"
	}
}

// connection returns how one connection is made.
func (c *Config) connection(config *pgconn.Config, readOnly bool) {
	if c.Password.Len() > 0 {
		config.Password = c.Password.Reveal()
	}
	config.ConnectTimeout = time.Duration(c.Timeouts.Connect)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "plinth"
	}
	if config.ValidateConnect == nil && len(config.Fallbacks) > 0 && !readOnly {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

func (l *lanes) close() {
	for _, pool := range l.pools {
		pool.Close()
	}
}

// acquire returns a connection of a lane, which is to be released. A new one is made within the time
// that connections have for that.
func (b *Backend) acquire(ctx context.Context, l *lane) (*conn, error) {
	select {
	case <-l.free:
	default:
		if err := b.wait(ctx, l); err != nil {
			return nil, err
		}
	}
	c, err := l.pool.Acquire(ctx)
	if err != nil {
		l.free <- struct{}{}
		return nil, err
	}
	return &conn{c, l}, nil
}

// wait waits until a connection of a lane is free.
func (b *Backend) wait(ctx context.Context, l *lane) error {
	timer := time.NewTimer(time.Duration(b.config.Timeouts.Connect))
	defer timer.Stop()
	select {
	case <-l.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: "all connections for " + l.name + " are busy",
			Limit: storage.Limit{Kind: "connections", Max: int64(cap(l.free)), Actual: int64(cap(l.free)) + 1}}
	}
}

// mostReads limits how often a read is tried, on connections that turn out to be broken.
const mostReads = 3

// reads does f with a connection of the pool. What breaks a connection is tried again on
// another, for it reads alone.
func (b *Backend) reads(ctx context.Context, limit time.Duration, f func(context.Context, *conn) error) error {
	if err := ctx.Err(); err != nil {
		return storage.ContextError(ctx)
	}
	if !b.gate.enter() {
		return errClosed()
	}
	defer b.gate.leave()
	end := time.Now().Add(limit)
	for attempt := 1; ; attempt++ {
		err := b.readOnce(ctx, end, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return storage.ContextError(ctx)
		}
		if attempt == mostReads || !time.Now().Before(end) || !repeatable(err) {
			return failed(err)
		}
	}
}

func (b *Backend) readOnce(ctx context.Context, end time.Time, f func(context.Context, *conn) error) error {
	conn, err := b.acquire(ctx, &b.lanes.read)
	if err != nil {
		return err
	}
	defer conn.Release()
	return conn.until(ctx, end, func(ctx context.Context) error { return f(ctx, conn) })
}

// past is a time at which nothing that a connection does is in time.
var past = time.Unix(1, 0)

// until calls f, and interrupts it at a time, or earlier when ctx ends. It sets the deadline of
// the connection: with a context that ends, the client would start a goroutine for each statement,
// which costs as much as the rest of it.
func (c *conn) until(ctx context.Context, end time.Time, f func(context.Context) error) error {
	raw := c.Conn.Conn().PgConn().Conn()
	if err := raw.SetDeadline(end); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(past) }) // it has closed, else
	err := f(context.Background())
	if !stop() { // whoever has it next would be cut off
		return errors.Join(err, c.Conn.Conn().Close(ctx))
	}
	if err == nil || !c.Conn.Conn().IsClosed() {
		return errors.Join(err, raw.SetDeadline(time.Time{}))
	}
	return err
}
