package postgres

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/internal/pgtest"
)

// shared is the server of most tests, which is started when one asks for it.
var shared struct {
	once   sync.Once
	server *pgtest.Server
	err    error
}

// TestMain is the plugin, or the writer that is killed, where it is told so. Else it ends the server after the tests.
func TestMain(m *testing.M) {
	servePlugin()
	serveCrash()
	code := m.Run()
	if shared.server != nil {
		shared.server.Remove()
	}
	os.Exit(code)
}

// server is the one that tests share: none restarts it.
func server(t testing.TB) *pgtest.Server {
	t.Helper()
	shared.once.Do(func() {
		if shared.server, shared.err = pgtest.New(); shared.err == nil {
			shared.err = shared.server.Start()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// ownServer is one of a test's own.
func ownServer(t testing.TB, options ...string) *pgtest.Server {
	t.Helper()
	s, err := pgtest.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

var tableNumber atomic.Int64

// freshTable is a name that no other test has.
func freshTable() string { return fmt.Sprintf("t%d", tableNumber.Add(1)) }

// ring are the tables of one kit, which are used in turns: making new ones for each check takes
// longer than the check.
type ring struct {
	names [4]string
	next  int
}

// empty is the table that was not used for longest, emptied.
func (r *ring) empty(ctx context.Context, s *pgtest.Server) (string, error) {
	r.next = (r.next + 1) % len(r.names)
	name := &r.names[r.next]
	if *name == "" {
		*name = freshTable()
	}
	return *name, s.Empty(ctx, *name)
}

// exec does a statement as the owner of everything.
func exec(t testing.TB, s *pgtest.Server, text string, args ...any) {
	t.Helper()
	if err := s.Exec(t.Context(), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
