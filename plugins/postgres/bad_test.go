package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

func TestBadConfigurations(t *testing.T) {
	for config, want := range map[string]string{
		`{"table": "t"}`:    "dsn is required",
		`{"dsn": "host=x"}`: "table is required",
		`{"dsn": "host=x", "table": "a\"; drop table b"}`:                        "it must be TABLE or SCHEMA.TABLE",
		`{"dsn": "host=x", "table": "a.b.c"}`:                                    "it must be TABLE or SCHEMA.TABLE",
		`{"dsn": "host=x", "table": "Users"}`:                                    "lower-case letters",
		`{"dsn": "host=x", "table": "` + strings.Repeat("a", 51) + `"}`:          "at most 50",
		`{"dsn": "postgres://u:hunter2 x@h/d", "table": "t"}`:                    "dsn is not valid",
		`{"dsn": "postgres://u:hunter2@h:port/d", "table": "t"}`:                 "dsn is not valid",
		`{"dsn": "host=x password='hunter2", "table": "t"}`:                      "dsn is not valid",
		`{"dsn": "host=x sslmode=hunter2", "table": "t"}`:                        "dsn is not valid",
		`{"dsn": "host=x", "replica": "postgres://u:hunter2@%zz", "table": "t"}`: "replica is not valid",
		`{"dsn": "host=x", "table": "t", "prepared": "perhaps"}`:                 "it must be on or off",
		`{"dsn": "host=x", "table": "t", "connections": 0}`:                      "connections is 0",
		`{"dsn": "host=x", "table": "t", "timeouts": {"write": "1ms"}}`:          "timeouts.write is 1000000",
		`{"dsn": "host=x", "table": "t", "tabel": "t"}`:                          `unknown field "tabel"`,
	} {
		_, err := Info(t.Context(), sdk.Env{Config: json.RawMessage(config)})
		if !errors.Is(err, storage.ErrInvalidArgument) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// listener accepts connections and says something, or nothing, to each.
func listener(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	over := t.Context().Done()
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				if says != "" {
					_, _ = c.Write([]byte(says))
					return
				}
				<-over
			})
		}
	})
	return fmt.Sprintf("postgres://u:hunter2@%s/d?sslmode=disable", l.Addr())
}

// A server that cannot be used is refused in bounded time, with what is wrong with it and
// without its password.
func TestBadServers(t *testing.T) {
	t.Parallel()
	s := server(t)
	exec(t, s, "create role secretive login password 'hunter2'; create role crowded login connection limit 0; create role poor login")
	exec(t, s, "create table other (key text, value text)")
	exec(t, s, "create table half (key bytea)")
	opened(t, s, "newer")
	exec(t, s, "update newer_lock set schema = 2")
	opened(t, s, "emptied")
	exec(t, s, "delete from emptied_log")
	with := func(user, password string) string {
		return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s dbname=postgres sslmode=disable", s.Port(), user, password)
	}
	for name, c := range map[string]struct {
		dsn, table string
		code       storage.Code
		want       string
	}{
		"a server that hangs":    {listener(t, ""), "t", storage.Unavailable, "cannot be reached"},
		"not a PostgreSQL":       {listener(t, "HTTP/1.1 400 Bad Request\r\n\r\nhunter2"), "t", storage.Unavailable, "cannot be reached"},
		"nobody listens":         {"host=127.0.0.1 port=1 user=u password=hunter2", "t", storage.Unavailable, "cannot be reached"},
		"a wrong password":       {with("secretive", "hunter3"), "t", storage.Unauthenticated, "password authentication failed"},
		"a missing database":     {s.DSN("nowhere"), "t", storage.InvalidArgument, "create the database first"},
		"a missing table":        {s.DSN("postgres"), "missing", storage.InvalidArgument, "plinth postgres init"},
		"a missing schema":       {s.DSN("postgres"), "nowhere.missing", storage.InvalidArgument, "plinth postgres init"},
		"another's table":        {s.DSN("postgres"), "other", storage.InvalidArgument, "is not a store of Plinth"},
		"a part of it":           {s.DSN("postgres"), "half", storage.InvalidArgument, "is not a store of Plinth"},
		"a newer one":            {s.DSN("postgres"), "newer", storage.InvalidArgument, "created by a newer one"},
		"one without versions":   {s.DSN("postgres"), "emptied", storage.InvalidArgument, "has lost its versions"},
		"too many connections":   {with("crowded", "x"), "t", storage.Unavailable, "too many connections"},
		"a user without a right": {with("poor", "x"), "emptied", storage.PermissionDenied, "permission denied"},
	} {
		var said bytes.Buffer
		config := configOf(s, c.table, "dsn", fmt.Sprintf("%q", c.dsn), "create", "false", "timeouts", `{"connect": "500ms"}`)
		began := time.Now()
		_, err := Open(t.Context(), sdk.Env{Config: config, Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if storage.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err, said.String()), "hunter") {
			t.Errorf("%s: the password shows: %v %s", name, err, said.String())
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
		if c.table == "other" || c.table == "half" { // nor does init touch it
			if _, err := Init(t.Context(), sdk.Env{Config: config}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, init: %v", name, err)
			}
		}
	}
	c := DefaultConfig()
	for number, want := range map[int]string{130_012: "the server is PostgreSQL 13.12, and the oldest that is supported is 14", 90_600: "the server is PostgreSQL 9.600"} {
		if err := c.judge(&facts{number: number}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", number, err)
		}
	}
}

// Init creates the tables once, also where two do it, and what it created can be served by a
// user who may not create any.
func TestInit(t *testing.T) {
	t.Parallel()
	s := server(t)
	exec(t, s, "create schema apart; create role plain login")
	config := configOf(s, "apart.sessions", "create", "false")
	var made [4]bool
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = Init(t.Context(), sdk.Env{Config: config}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, m := range made {
		if m {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of %d created them", n, len(made))
	}
	exec(t, s, "grant usage on schema apart to plain; grant select, insert, update, delete on all tables in schema apart to plain; grant usage, update on all sequences in schema apart to plain")
	b := opened(t, s, "apart.sessions", "create", "false", "dsn", fmt.Sprintf("postgres://plain@127.0.0.1:%d/postgres?sslmode=disable", s.Port()))
	if _, err := b.Apply(t.Context(), put("k", "v", 1)); err != nil {
		t.Error(err)
	}
	if is := valueAt(t, b, "k"); is != "v" {
		t.Errorf("it is %s", is)
	}
}

// Keys up to the limit are stored, also where they cannot be compressed, and whatever bytes
// they have.
func TestKeysAtTheLimit(t *testing.T) {
	t.Parallel()
	s := server(t)
	for _, prepared := range []string{preparedOn, preparedOff} {
		b := opened(t, s, freshTable(), "prepared", prepared)
		var keys [][]byte
		for range 300 { // more than a page of the index
			key := make([]byte, mostKey)
			for i := range key {
				key[i] = byte(rand.Uint32())
			}
			keys = append(keys, key)
		}
		for _, b := range []byte{0, '\'', '\\', 0xFF} {
			keys = append(keys, bytes.Repeat([]byte{b}, mostKey), []byte{b}, []byte{b, 0, b})
		}
		w := &storage.WriteSet{ID: [16]byte{9}}
		for _, key := range keys {
			w.Ops = append(w.Ops, storage.PutUntil(key, key, time.Now().Add(time.Hour)))
		}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		items, err := b.GetMany(t.Context(), keys)
		if err != nil || len(items) != len(keys) {
			t.Fatalf("%d items of %d, %v", len(items), len(keys), err)
		}
		for i := range items {
			if !bytes.Equal(items[i].Key, keys[i]) || !bytes.Equal(items[i].Value, keys[i]) {
				t.Fatalf("item %d is another", i)
			}
		}
	}
}

// Where the server's transactions are isolated otherwise, ours are as they have to be.
func TestOtherIsolation(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	for _, level := range []string{"repeatable read", "serializable"} {
		role := "r_" + strings.ReplaceAll(level, " ", "_")
		exec(t, s, fmt.Sprintf("create role %s login superuser; alter role %[1]s set default_transaction_isolation = '%s'", role, level))
		dsn := fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", role, s.Port())
		b, other := opened(t, s, table, "dsn", dsn), opened(t, s, table)
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[uint64]bool{}
		for i := range 4 {
			at := []*Backend{b, other}[i%2]
			wg.Go(func() {
				for range 50 {
					version, err := at.Apply(t.Context(), put("k", level, 0))
					mu.Lock()
					if err != nil || seen[version] {
						t.Errorf("%s: %d, %v", level, version, err)
					}
					seen[version] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if !b.explicit.Load() {
			t.Errorf("%s: it was not noticed", level)
		}
	}
}

// A server whose state went back, as after a failover to a replica that was behind, is noticed:
// versions go on from where they were, and the incarnation changes.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table)
	for range 3 {
		if _, err := b.Apply(t.Context(), put("k", "v", 0)); err != nil {
			t.Fatal(err)
		}
	}
	last, err := b.Apply(t.Context(), put("k", "w", 0))
	if err != nil {
		t.Fatal(err)
	}
	before := b.Info().Incarnation
	exec(t, s, fmt.Sprintf("delete from %[1]s_log; insert into %[1]s_log values (%[2]d); update %[1]s set version = %[2]d; select setval('%[1]s_number', %[2]d)", table, last-3))
	version, err := b.Apply(t.Context(), put("k", "x", 0))
	if err != nil || version <= last {
		t.Errorf("%d, %v after %d", version, err, last)
	}
	if b.Info().Incarnation == before {
		t.Error("the incarnation is the same")
	}
	if again := opened(t, s, table); again.Info().Incarnation != b.Info().Incarnation {
		t.Error("another host does not know of it")
	}
}

// A server that acknowledges before it has written is not durable, and says so.
func TestNotDurable(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table, "dsn", s.DSN("postgres")+"&synchronous_commit=off")
	if b.Info().Caps.Has(storage.CapDurable) {
		t.Error("it says it is durable")
	}
	c := DefaultConfig()
	c.Replica = "host=x"
	if i := c.Info(); !strings.Contains(i.Version, "not linearizable") {
		t.Errorf("%+v", i)
	}
}
