package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/storage"
)

// The work on PostgreSQL: 100,000 items as those of the durable stores, on a server of its own
// with its usual settings, which sync each commit.
const postgresItems = 100_000

// postgresBackend is the plugin, in this process and in one of its own.
var postgresBackend = plinth.WithBackend("postgres", postgres.Open, plinth.Shared(), plinth.TriedBy(postgres.Info))

// postgresRows returns the rows of stores on PostgreSQL next to its bare client, on one server
// that is started when one of them is measured.
func postgresRows() (rows []*row, closeAll func() error) {
	var server *pgtest.Server
	start := sync.OnceFunc(func() {
		s, err := pgtest.New()
		if err == nil {
			server = s
			err = s.Start()
		}
		if err != nil {
			fatal(err)
		}
	})
	stores := map[string]*lazily{}
	for name, open := range map[string]func(dsn string) (*durable, error){
		"pgx": openPgx, "postgres, linked in": openPostgres("none"), "postgres, a process": openPostgres("process"),
	} {
		stores[name] = &lazily{open: func() (*durable, error) {
			start()
			d, err := open(server.DSN("postgres"))
			if err != nil {
				return nil, err
			}
			for n := uint64(0); n < postgresItems && err == nil; n += 1000 {
				err = d.load(n, n+1000)
			}
			return d, err
		}}
	}
	add := func(work, subject string, goal float64, per int, run func(b *testing.B, d *durable)) {
		rows = append(rows, &row{work: work, subject: subject, floor: "pgx", goal: goal, per: per, run: func(b *testing.B) { run(b, stores[subject].get()) }})
	}
	sets := func(writers int) func(*testing.B, *durable) {
		return func(b *testing.B, d *durable) { together(b, writers, d.set) }
	}
	for _, s := range []struct {
		name string
		goal float64
	}{{"pgx", 0}, {"postgres, linked in", 1.15}, {"postgres, a process", 0}} {
		add("PostgreSQL: set, 1 writer", s.name, s.goal, 1, sets(1))
		add("PostgreSQL: set, 64 writers", s.name, s.goal, 1, sets(64))
		add("PostgreSQL: get", s.name, s.goal, 1, func(b *testing.B, d *durable) { each(b, d.get) })
		add("PostgreSQL: scan, 100", s.name, 0, 100, func(b *testing.B, d *durable) { each(b, d.scan) })
	}
	return ordered(rows), func() error {
		var errs []error
		for _, s := range stores {
			errs = append(errs, s.close())
		}
		if server != nil {
			server.Remove()
		}
		return errors.Join(errs...)
	}
}

// openPgx opens the client alone, which does the same work as code written by hand: each put
// has a version, from a counter that commits with it, and what has expired is not read.
func openPgx(dsn string) (*durable, error) {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	for _, text := range []string{`create table bare (key bytea primary key, value bytea not null, version bigint not null, expires bigint not null) with (fillfactor = 90)`,
		`create index on bare (expires) where expires > 0`, `create table counter (version bigint not null)`, `insert into counter values (1)`} {
		if _, err := pool.Exec(ctx, text); err != nil {
			return nil, err
		}
	}
	const put = `with next as (update counter set version = version + 1 returning version)
		insert into bare (key, value, version, expires) select $1::bytea, $2::bytea, version, $3::bigint from next
		on conflict (key) do update set value = excluded.value, version = excluded.version, expires = excluded.expires returning version`
	return &durable{
		load: func(from, to uint64) error {
			var keys, values [][]byte
			for n := from; n < to; n++ {
				keys, values = append(keys, postgresKey(n)), append(values, durableValue(n))
			}
			_, err := pool.Exec(ctx, `with next as (update counter set version = version + 1 returning version)
				insert into bare select k, v, version, 0 from next, unnest($1::bytea[], $2::bytea[]) as p (k, v)`, keys, values)
			return err
		},
		set: func(n uint64) error {
			var version int64
			return pool.QueryRow(ctx, put, postgresKey(n), durableValue(n), int64(0)).Scan(&version)
		},
		get: func(n uint64) error {
			var value []byte
			var version, expires int64
			return pool.QueryRow(ctx, `select value, version, expires from bare where key = $1`, postgresKey(n)).Scan(&value, &version, &expires)
		},
		scan: func(n uint64) error {
			rows, err := pool.Query(ctx, `select key, value, version, expires from bare where key >= $1 and (expires = 0 or expires > $2) order by key limit 100`, postgresKey(n), int64(1))
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (it storage.Item, err error) {
				var version, expires int64
				err = row.Scan(&it.Key, &it.Value, &version, &expires)
				return it, err
			})
			return err
		},
		Closer: closer(func() error { pool.Close(); return nil }),
	}, nil
}

func postgresKey(n uint64) []byte { return durableKey(n % postgresItems) }

// openPostgres opens a store of a host, without a pipeline.
func openPostgres(isolation string) func(dsn string) (*durable, error) {
	return func(dsn string) (*durable, error) {
		ctx := context.Background()
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		h, err := plinth.Open(ctx, "", postgresBackend, plinth.WithWorker(self), plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent(fmt.Appendf(nil,
			"plugins: { postgres: { isolation: %s } }\nstores: { a: { backend: { plugin: postgres, config: { dsn: %q, table: plinth_%[1]s, create: true } } } }", isolation, dsn)))
		if err != nil {
			return nil, err
		}
		s, err := h.Store("a")
		if err != nil {
			return nil, err
		}
		return &durable{
			load: func(from, to uint64) error {
				w := &storage.WriteSet{}
				for n := from; n < to; n++ {
					w.Ops = append(w.Ops, storage.Put(postgresKey(n), durableValue(n)))
				}
				_, err := s.Apply(ctx, w)
				return err
			},
			set: func(n uint64) error { return s.Set(ctx, postgresKey(n), durableValue(n)) },
			get: func(n uint64) error { _, err := s.Get(ctx, postgresKey(n)); return err },
			scan: func(n uint64) error {
				for _, err := range s.Range(ctx, postgresKey(n), nil, storage.RangeOptions{Limit: 100}) {
					if err != nil {
						return err
					}
				}
				return nil
			},
			Closer: closer(func() error { return h.Close(ctx) }),
		}, nil
	}
}
