package postgres

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/plinthkv/plinth/sdk"
)

// Config is the configuration of a backend.
type Config struct {
	// DSN names the database: "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full", or the
	// same as "host=… dbname=…". Of several hosts, the one that accepts writes is used. It is
	// required.
	DSN string `json:"dsn"`
	// Password is that of the user, for example "${env:PGPASSWORD}" or "${file:/run/secrets/pg}";
	// empty: as the DSN has it.
	Password string `json:"password" secret:"true"`
	// Table is the name of the store's table, or SCHEMA.TABLE: lower-case letters, digits and
	// underscores. It is required. Beside TABLE there are TABLE_lock, TABLE_log, TABLE_ids and the
	// sequence TABLE_number.
	Table string `json:"table"`
	// Create creates the tables at the start if they are missing, as "plinth postgres init" does.
	Create bool `json:"create"`
	// Replica is the DSN of a standby that answers reads and scans. What was just written may be
	// missing there: reads are not linearizable then. Empty: the primary answers.
	Replica string `json:"replica"`
	// Prepared is "on", or "off" behind a pooler that gives each transaction another connection,
	// such as pgbouncer in transaction mode.
	Prepared string `json:"prepared"`
	// Connections is the most connections for reads. Writes use up to three more, and each kept
	// snapshot one.
	Connections int      `json:"connections"`
	Timeouts    Timeouts `json:"timeouts"` // of calls
	// SnapshotLife is how long the state of a page is kept for those that follow it, and Snapshots
	// of how many states. Each is a connection with an open transaction.
	SnapshotLife sdk.Duration `json:"snapshot_life"`
	Snapshots    int          `json:"snapshots"`
}

// Timeouts bound calls, with everything that is repeated inside.
type Timeouts struct {
	Connect sdk.Duration `json:"connect"` // of a new connection, and of the wait for a free one
	Read    sdk.Duration `json:"read"`    // of a get
	Scan    sdk.Duration `json:"scan"`    // of a page of a range
	// Write bounds a group of writes, and again the settling of one whose answer was lost. It
	// is also twice as long as the server keeps the lock of a writer that is gone.
	Write sdk.Duration `json:"write"`
}

// The values of prepared.
const (
	preparedOn  = "on"
	preparedOff = "off"
)

// DefaultConfig is what stands where the configuration is silent.
func DefaultConfig() Config {
	return Config{Prepared: preparedOn, Connections: 16,
		Timeouts: Timeouts{Connect: sdk.Duration(5 * time.Second), Read: sdk.Duration(5 * time.Second), Scan: sdk.Duration(30 * time.Second),
			Write: sdk.Duration(10 * time.Second)},
		SnapshotLife: sdk.Duration(time.Minute), Snapshots: 8}
}

// identifier is a name that needs no quotes, and is quoted all the same. It leaves room for
// what is added to it, of 63 bytes.
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
