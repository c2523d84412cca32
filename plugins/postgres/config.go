package postgres

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
)

// Config configures a store in PostgreSQL.
type Config struct {
	// DSN names the database: "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full",
	// or the same as "host=… dbname=…". If it names several hosts, the one that
	// accepts writes is used. Required.
	DSN string `json:"dsn"`
	// Password is the user's password, for example "${env:PGPASSWORD}" or
	// "${file:/run/secrets/pg}". By default that of the DSN.
	Password *secret.Value `json:"password" secret:"true"`
	// Table is the name of the store's table, or SCHEMA.TABLE: lower-case letters, digits and
	// underscores. The store also uses TABLE_lock, TABLE_log, TABLE_ids and the sequence
	// TABLE_number. Required.
	Table string `json:"table"`
	// Create creates the tables at the start if they are missing, as "plinth postgres init" does.
	Create bool `json:"create"`
	// Replica is the DSN of a standby for reads and scans. Reads are not linearizable
	// then: recent writes may be missing there. By default the primary answers.
	Replica string `json:"replica"`
	// Prepared is "on", or "off" behind a pooler that uses a connection per transaction,
	// such as pgbouncer in transaction mode.
	Prepared string `json:"prepared"`
	// Connections bounds the connections for reads. Writes use up to three more, and each
	// kept snapshot one.
	Connections int      `json:"connections"`
	Timeouts    Timeouts `json:"timeouts"` // time limits of calls
	// SnapshotLife is how long the state of a page is kept for later pages.
	SnapshotLife sdk.Duration `json:"snapshot_life"`
	// Snapshots bounds the kept states, each of which is a connection with an open transaction.
	Snapshots int `json:"snapshots"`
	// Changes keeps the store's changes in TABLE_changes, so that they can be followed. Every
	// write stores its keys and values a second time. It is a property of the tables: all
	// hosts of the store keep them.
	Changes bool `json:"changes"`
	// ChangesAge is how long changes are kept. A follower that is further behind must scan again.
	ChangesAge sdk.Duration `json:"changes_age"`
}

// Timeouts bounds calls, including repeated attempts.
type Timeouts struct {
	Connect sdk.Duration `json:"connect"` // a new connection, and the wait for a free one
	Read    sdk.Duration `json:"read"`    // a get
	Scan    sdk.Duration `json:"scan"`    // a page of a range
	// Write bounds a group of writes, and again finding the outcome of one whose answer
	// was lost. The server keeps the lock of a vanished writer for at most half of it.
	Write sdk.Duration `json:"write"`
}

// The values of prepared.
const (
	preparedOn  = "on"
	preparedOff = "off"
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Prepared: preparedOn, Connections: 16,
		Timeouts: Timeouts{Connect: sdk.Duration(5 * time.Second), Read: sdk.Duration(5 * time.Second), Scan: sdk.Duration(30 * time.Second),
			Write: sdk.Duration(10 * time.Second)},
		SnapshotLife: sdk.Duration(time.Minute), Snapshots: 8, ChangesAge: sdk.Duration(24 * time.Hour)}
}

// identifier matches a name that needs no quotes, and is quoted all the same. It leaves
// room for what is added to it, of 63 bytes.
var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

// Validate checks the values, without asking a server.
func (c *Config) Validate() error {
	if c.DSN == "" {
		return sdk.ConfigErrorf("dsn", `dsn is required: postgres://USER@HOST:PORT/DATABASE, or "host=… dbname=…"`)
	}
	if err := checkDSN("dsn", c.DSN); err != nil {
		return err
	}
	if c.Replica != "" {
		if err := checkDSN("replica", c.Replica); err != nil {
			return err
		}
	}
	if c.Table == "" {
		return sdk.ConfigErrorf("table", "table is required: the name of the store's table")
	}
	parts := strings.Split(c.Table, ".")
	for _, part := range parts {
		if !identifier.MatchString(part) || len(parts) > 2 {
			return sdk.ConfigErrorf("table", "table is %.70q, it must be TABLE or SCHEMA.TABLE, each of at most 50 lower-case letters, digits and underscores", c.Table)
		}
	}
	if c.Prepared != preparedOn && c.Prepared != preparedOff {
		return sdk.ConfigErrorf("prepared", "prepared is %.20q, it must be on or off", c.Prepared)
	}
	return c.checkNumbers()
}

func (c *Config) checkNumbers() error {
	for _, f := range []struct {
		name      string
		is        int64
		low, high int64
		unit      string
	}{
		{"connections", int64(c.Connections), 1, 1000, "connections"},
		{"snapshots", int64(c.Snapshots), 1, 1000, "snapshots"},
		{"snapshot_life", int64(c.SnapshotLife), int64(time.Millisecond), int64(time.Hour), "ns"},
		{"changes_age", int64(c.ChangesAge), int64(time.Second), int64(10 * 365 * 24 * time.Hour), "ns"},
		{"timeouts.connect", int64(c.Timeouts.Connect), int64(10 * time.Millisecond), int64(time.Hour), "ns"},
		{"timeouts.read", int64(c.Timeouts.Read), int64(10 * time.Millisecond), int64(time.Hour), "ns"},
		{"timeouts.scan", int64(c.Timeouts.Scan), int64(10 * time.Millisecond), int64(time.Hour), "ns"},
		{"timeouts.write", int64(c.Timeouts.Write), int64(100 * time.Millisecond), int64(time.Hour), "ns"},
	} {
		if f.is < f.low || f.is > f.high {
			return sdk.ConfigErrorf(f.name, "%s is %d, it must be between %d and %d %s", f.name, f.is, f.low, f.high, f.unit)
		}
	}
	return nil
}

// checkDSN reports why a DSN cannot be used. Its text is not part of the error: it may hold a
// password.
func checkDSN(path, dsn string) error {
	_, err := pgconn.ParseConfig(dsn)
	if err == nil {
		return nil
	}
	reason := err
	for inner := errors.Unwrap(reason); inner != nil; inner = errors.Unwrap(reason) {
		reason = inner
	}
	var whole *pgconn.ParseConfigError
	if errors.As(reason, &whole) || strings.ContainsAny(reason.Error(), "\"'`@") {
		return sdk.ConfigErrorf(path, `%s is not valid: it must be postgres://USER@HOST:PORT/DATABASE, or "host=… dbname=…"`, path)
	}
	return sdk.ConfigErrorf(path, "%s is not valid: %v", path, reason)
}
