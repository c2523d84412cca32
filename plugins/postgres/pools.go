package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/plinthkv/plinth/storage"
)

// writers is how many connections writes have: one for whoever writes, one for what has
// expired, one for the tables themselves.
const writers = 3

// pools are the connections of a backend, by what they are for: none waits for another's.
type pools struct {
	write, read, snap *pgxpool.Pool
}

// connections makes the pools, which connect when they are asked.
func (c *Config) connections() (p pools, err error) {
	reads := c.DSN
	if c.Replica != "" {
		reads = c.Replica
	}
	for _, each := range []struct {
		pool     **pgxpool.Pool
		dsn      string
		most     int
		longest  time.Duration
		idle     time.Duration
		readOnly bool
	}{
		{&p.write, c.DSN, writers, time.Duration(c.Timeouts.Write), time.Duration(c.Timeouts.Write), false},
		{&p.read, reads, c.Connections, max(time.Duration(c.Timeouts.Read), time.Duration(c.Timeouts.Scan)), 0, c.Replica != ""},
		{&p.snap, reads, c.Snapshots + 1, time.Duration(c.Timeouts.Scan), time.Duration(c.SnapshotLife) + time.Minute, c.Replica != ""},
	} {
		config, err := c.pool(each.dsn, each.most, each.longest, each.idle, each.readOnly)
		if err == nil {
			*each.pool, err = pgxpool.NewWithConfig(context.Background(), config)
		}
		if err != nil {
			p.close()
			return pools{}, failed(err)
		}
	}
	return p, nil
}

// pool is the configuration of one.
func (c *Config) pool(dsn string, most int, longest, idle time.Duration, readOnly bool) (*pgxpool.Config, error) {
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
		for name, d := range map[string]time.Duration{"statement_timeout": longest, "idle_in_transaction_session_timeout": idle} {
			if d > 0 { // so that the server gives up what nobody waits for
				config.ConnConfig.RuntimeParams[name] = strconv.FormatInt((d + time.Second).Milliseconds(), 10)
			}
		}
	}
	return config, nil
}

// connection is how one connection is made.
func (c *Config) connection(config *pgconn.Config, readOnly bool) {
	if c.Password != "" {
		config.Password = c.Password
	}
	config.ConnectTimeout = time.Duration(c.Timeouts.Connect)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "plinth"
	}
	if config.ValidateConnect == nil && len(config.Fallbacks) > 0 && !readOnly {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

func (p *pools) close() {
	for _, pool := range []*pgxpool.Pool{p.write, p.read, p.snap} {
		if pool != nil {
			pool.Close()
		}
	}
}

// acquire is a connection of a pool, which is to be released.
func (b *Backend) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	within, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Connect))
	defer cancel()
	conn, err := pool.Acquire(within)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return conn, err
	}
	if s := pool.Stat(); s.AcquiredConns() >= s.MaxConns() {
		return nil, &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: fmt.Sprintf("all %d connections are busy", s.MaxConns()),
			Limit: storage.Limit{Kind: "connections", Max: int64(s.MaxConns()), Actual: int64(s.AcquiredConns()) + 1}}
	}
	return nil, &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: fmt.Sprintf("the server cannot be reached: no connection within %s", b.config.Timeouts.Connect)}
}

// most is how often a read is tried, on connections that turn out to be broken.
const mostReads = 3

// reads does f with a connection of the pool. What breaks a connection is tried again on
// another, for it reads alone.
func (b *Backend) reads(ctx context.Context, limit time.Duration, f func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return storage.ContextError(ctx)
	}
	if !b.gate.enter() {
		return errClosed()
	}
	defer b.gate.leave()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := b.readOnce(within, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return storage.ContextError(ctx)
		}
		if attempt == mostReads || within.Err() != nil || !repeatable(err) {
			return failed(err)
		}
	}
}

func (b *Backend) readOnce(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	conn, err := b.acquire(ctx, b.pools.read)
	if err != nil {
		return err
	}
	defer conn.Release()
	return f(ctx, conn)
}
