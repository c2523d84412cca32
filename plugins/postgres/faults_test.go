package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// opened is a backend on a table, closed with the test.
func opened(t *testing.T, s *pgtest.Server, table string, more ...string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), sdk.Env{Config: configOf(s, table, more...), Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b.(*Backend)
}

func put(key, value string, id byte) *storage.WriteSet {
	return &storage.WriteSet{ID: [16]byte{id}, Ops: []storage.Op{storage.Put([]byte(key), []byte(value))}}
}

// checked is put where the group is judged: in two round trips.
func checked(key, value string, id byte) *storage.WriteSet {
	w := put(key, value, id)
	w.Checks = []storage.Check{storage.Absent([]byte("no such key"))}
	return w
}

func valueAt(t *testing.T, b *Backend, key string) string {
	t.Helper()
	it, err := b.Get(t.Context(), []byte(key))
	if errors.Is(err, storage.ErrNotFound) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(it.Value)
}

// A connection that is cut at a commit leaves the outcome open: a write set with an ID is
// settled by it, of another it is said. Nothing is done twice, also where the server reads the
// first attempt after the second.
func TestCutAtCommit(t *testing.T) {
	t.Parallel()
	s := server(t)
	for name, c := range map[string]struct {
		fault fault
		there bool // the first attempt is done
	}{
		"the answer is lost":       {fault{reply: true}, true},
		"the request is lost":      {fault{}, false},
		"the request arrives late": {fault{late: make(chan struct{})}, false},
	} {
		for _, prepared := range []string{preparedOn, preparedOff} {
			for kind, write := range map[string]func(string, string, byte) *storage.WriteSet{"put": put, "judged": checked} {
				t.Run(fmt.Sprintf("%s, %s, prepared %s", name, kind, prepared), func(t *testing.T) {
					p := newProxy(t, s)
					b := opened(t, s, freshTable(), "dsn", p.dsn(s), "prepared", prepared, "timeouts", `{"write": "2s"}`)
					cut(t, b, p, c.fault, kind == "judged", c.there, write)
				})
			}
		}
	}
}

func cut(t *testing.T, b *Backend, p *proxy, f fault, judged, there bool, write func(string, string, byte) *storage.WriteSet) {
	b.end() // what collects would have connections too
	b.ended.Wait()
	id := byte(0)
	arm := func() *fault {
		for _, with := range []byte{0, id + 1} { // the statements are prepared
			if _, err := b.Apply(t.Context(), write("warm", "", with)); err != nil {
				t.Fatal(err)
			}
		}
		id++
		own := f
		if judged { // after the questions
			own.after = 1
		}
		if f.late != nil {
			own.late, own.done = make(chan struct{}), make(chan struct{})
			own.arrive = sync.OnceFunc(func() { close(own.late) })
			t.Cleanup(own.arrive)
		}
		p.fault.Store(&own)
		return &own
	}
	arrive := func(f *fault) {
		if f.late != nil {
			f.arrive()
			<-f.done
		}
	}
	armed := arm()
	if _, err := b.Apply(t.Context(), write("without", "v", 0)); !errors.Is(err, storage.ErrOutcomeUnknown) || !storage.Unknown(err) {
		t.Fatalf("without an ID: %v", err)
	}
	if is := valueAt(t, b, "without"); (is == "v") != there {
		t.Errorf("without an ID it is %s", is)
	}
	arrive(armed)
	armed = arm()
	version, err := b.Apply(t.Context(), write("with", "v", 77))
	if err != nil {
		t.Fatalf("with an ID: %v", err)
	}
	later, err := b.Apply(t.Context(), put("with", "later", 0))
	if err != nil || later <= version {
		t.Fatalf("%d, %v after %d", later, err, version)
	}
	arrive(armed)
	if is := valueAt(t, b, "with"); is != "later" {
		t.Errorf("it was done again: %s", is)
	}
	if again, err := b.Apply(t.Context(), write("with", "v", 77)); err != nil || again != version {
		t.Errorf("a repeat answers %d, %v; it was %d", again, err, version)
	}
}

// Two hosts that have the same version judge by what the other has done.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	hosts := []*Backend{opened(t, s, table), opened(t, s, table)}
	var wg sync.WaitGroup
	const each = 25
	for i := range 8 {
		b := hosts[i%2]
		wg.Go(func() {
			for done := 0; done < each; {
				it, err := b.Get(t.Context(), []byte("n"))
				c, n := storage.Absent([]byte("n")), 0
				if err == nil {
					c = storage.HasVersion([]byte("n"), it.Version)
					fmt.Sscan(string(it.Value), &n)
				}
				w := &storage.WriteSet{Checks: []storage.Check{c}, Ops: []storage.Op{storage.Put([]byte("n"), fmt.Append(nil, n+1))}}
				if _, err := b.Apply(t.Context(), w); err == nil {
					done++
				} else if !errors.Is(err, storage.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if is := valueAt(t, hosts[0], "n"); is != fmt.Sprint(8*each) {
		t.Errorf("%s increments of %d", is, 8*each)
	}
}

// trigger has the server fail writes of a key with a state, the first times.
func trigger(t *testing.T, s *pgtest.Server, table, key, state string, times int) {
	t.Helper()
	exec(t, s, fmt.Sprintf(`create sequence %[1]s_n;
		create function %[1]s_fail() returns trigger language plpgsql as $$ begin
			if new.key = '%[2]s'::bytea and nextval('%[1]s_n') <= %[4]d then raise exception 'planted: %%', encode(new.value, 'escape') using errcode = '%[3]s'; end if;
			return new; end $$;
		create trigger fail before insert or update on %[1]s for each row execute function %[1]s_fail()`, table, key, state, times))
}

// What the server refuses has the right code and is not written; the rest of its group is. What
// passes is repeated inside.
func TestStates(t *testing.T) {
	t.Parallel()
	s := server(t)
	for state, want := range map[string]storage.Code{
		stateDiskFull: storage.NoSpace, "42501": storage.PermissionDenied, stateReadOnly: storage.Unavailable, stateCanceled: storage.Timeout,
		"XX001": storage.Internal, "55P03": storage.Timeout, "22003": storage.Internal,
	} {
		t.Run(state, func(t *testing.T) {
			table := freshTable()
			b := opened(t, s, table)
			trigger(t, s, table, "bad", state, 1<<30)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					key := fmt.Sprintf("k%d", i)
					if i == 7 {
						key = "bad"
					}
					_, err := b.Apply(t.Context(), put(key, "secret value", byte(i)))
					if code := storage.CodeOf(err); i == 7 && code != want || i != 7 && err != nil || storage.Unknown(err) {
						t.Errorf("%s: %v", key, err)
					}
					if state == "22003" && err != nil && strings.Contains(err.Error(), "secret") {
						t.Errorf("the error holds a value: %v", err)
					}
				})
			}
			wg.Wait()
			if is := valueAt(t, b, "bad"); is != "absent" {
				t.Errorf("it is %s", is)
			}
			if is := valueAt(t, b, "k3"); is != "secret value" {
				t.Errorf("the one beside it is %s", is)
			}
		})
	}
	for _, state := range []string{stateSerialization, stateDeadlock} {
		t.Run(state+" passes", func(t *testing.T) {
			table := freshTable()
			b := opened(t, s, table)
			trigger(t, s, table, "bad", state, 3)
			if _, err := b.Apply(t.Context(), put("bad", "v", 0)); err != nil {
				t.Error(err)
			}
			if is := valueAt(t, b, "bad"); is != "v" {
				t.Errorf("it is %s", is)
			}
		})
	}
}

// A statement that takes too long is given up by the server, and nothing is done. So is the
// wait for a writer that does not end.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	opened(t, s, table)
	slow := opened(t, s, table, "dsn", s.DSN("postgres")+"&statement_timeout=1000")
	exec(t, s, fmt.Sprintf(`create function %[1]s_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return new; end $$;
		create trigger slow before insert on %[1]s for each row when (new.key = 'slow') execute function %[1]s_slow()`, table))
	if _, err := slow.Apply(t.Context(), put("slow", "v", 0)); !errors.Is(err, storage.ErrTimeout) || storage.Unknown(err) {
		t.Errorf("a slow statement: %v", err)
	}
	if is := valueAt(t, slow, "slow"); is != "absent" {
		t.Errorf("it is %s", is)
	}
	waits := opened(t, s, table, "timeouts", `{"write": "5s"}`)
	tx := holding(t, s, "select "+tablesOf(table).take)
	if _, err := waits.Apply(t.Context(), put("k", "v", 0)); !errors.Is(err, storage.ErrTimeout) || storage.Unknown(err) {
		t.Errorf("behind a writer that does not end: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := waits.Apply(t.Context(), put("k", "v", 0)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// holding is a transaction that has done a statement, and does not end.
func holding(t *testing.T, s *pgtest.Server, text string) pgx.Tx {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// Where all connections are taken a call waits for so long, and says what it waited for. Writes
// and health have connections of their own.
func TestFullPool(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table, "connections", "1", "timeouts", `{"connect": "300ms", "read": "10s"}`)
	if _, err := b.Apply(t.Context(), put("k", "v", 0)); err != nil {
		t.Fatal(err)
	}
	taken, err := b.acquire(t.Context(), &b.lanes.read)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "all connections for reads are busy: connections is 2, limit is 1") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("whose caller leaves: %v", err)
	}
	if _, err := b.Apply(t.Context(), put("k", "w", 0)); err != nil {
		t.Errorf("a write: %v", err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
	taken.Release()
	if is := valueAt(t, b, "k"); is != "w" {
		t.Errorf("it is %s", is)
	}
}

// A caller that leaves a write that has begun is told that its outcome is unknown; one that
// leaves before is told that nothing was done. Neither keeps others from writing.
func TestLeftAlone(t *testing.T) {
	t.Parallel()
	s, table := server(t), freshTable()
	b := opened(t, s, table)
	tx := holding(t, s, "select "+tablesOf(table).take)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.Apply(ctx, put("k", "v", 0)); !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	waiting, stop := context.WithCancel(t.Context())
	stop()
	if _, err := b.Apply(waiting, put("k", "v", 0)); !errors.Is(err, storage.ErrCanceled) || storage.Unknown(err) {
		t.Errorf("%v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(t.Context(), put("k", "w", 0)); err != nil {
		t.Error(err)
	}
	if is := valueAt(t, b, "k"); is != "w" {
		t.Errorf("it is %s", is)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
}

// A server that is stopped is unavailable, within bounds and without losing a write; when it is
// back, calls go on, with the same backend. One that becomes read-only is read.
func TestRestarted(t *testing.T) {
	if testing.Short() {
		t.Skip("a server of its own is started three times: TestKilled does it with -short too")
	}
	t.Parallel()
	s := ownServer(t)
	b := opened(t, s, "t", "timeouts", `{"connect": "2s", "write": "1s"}`)
	if _, err := b.Apply(t.Context(), put("k", "v", 0)); err != nil {
		t.Fatal(err)
	}
	s.Stop(syscall.SIGINT)
	if _, err := b.Apply(t.Context(), put("k", "w", 5)); !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("a write without a server: %v", err)
	}
	if _, err := b.Apply(t.Context(), put("k", "w", 6)); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("another: %v", err)
	}
	if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a read: %v", err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy || !strings.Contains(h.Reason, "cannot be reached") {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := b.Health(t.Context(), storage.Liveness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if is := valueAt(t, b, "k"); is != "v" {
		t.Errorf("it is %s", is)
	}
	exec(t, s, "alter system set default_transaction_read_only = on")
	exec(t, s, "select pg_reload_conf()")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := b.Apply(t.Context(), put("k", "x", 0))
		if errors.Is(err, storage.ErrUnavailable) && strings.Contains(err.Error(), "standby") && !storage.Unknown(err) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("read-only: %v", err)
		}
	}
	if is := valueAt(t, b, "k"); is != "v" && is != "x" {
		t.Errorf("it is %s", is)
	}
}
