package postgres

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Reads go to the replica, which has what was written some time later; checks and writes do
// not. As the primary it can be read, and refuses writes.
func TestReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("two servers of its own, and one client at a time: a race detector learns nothing of it")
	}
	t.Parallel()
	s := ownServer(t, "shared_buffers=16MB")
	opened(t, s, "r")
	replica, err := s.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(replica.Remove)
	if err := replica.Start(); err != nil {
		t.Fatal(err)
	}
	b := opened(t, s, "r", "replica", replica.DSN("postgres"), "timeouts", `{"write": "1s"}`)
	if v := b.Info().Version; !strings.Contains(v, "not linearizable") {
		t.Errorf("Info says %q", v)
	}
	exec(t, replica, "select pg_wal_replay_pause()")
	version, err := b.Apply(t.Context(), put("k", "v", 1))
	if err != nil {
		t.Fatal(err)
	}
	if is := valueAt(t, b, "k"); is != "absent" {
		t.Errorf("a replica that does not follow has %s", is)
	}
	w := put("k", "w", 0)
	w.Checks = []storage.Check{storage.HasVersion([]byte("k"), version)}
	if _, err := b.Apply(t.Context(), w); err != nil {
		t.Errorf("a check of what the replica does not have: %v", err)
	}
	exec(t, replica, "select pg_wal_replay_resume()")
	for end := time.Now().Add(30 * time.Second); valueAt(t, b, "k") != "w"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the replica does not follow")
		}
	}
	if page, err := b.Scan(t.Context(), storage.Query{}); err != nil || len(page.Items) != 1 || page.Version <= version {
		t.Errorf("%+v, %v", page, err)
	}
	alone, err := Open(t.Context(), sdk.Env{Config: configOf(s, "r", "dsn", replica.DSN("postgres")), Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close(t.Context())
	if _, err := alone.Apply(t.Context(), put("k", "x", 0)); !errors.Is(err, storage.ErrUnavailable) || storage.Unknown(err) || !strings.Contains(err.Error(), "standby") {
		t.Errorf("a write to a standby: %v", err)
	}
	if h, err := alone.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Degraded || !strings.Contains(h.Reason, "standby") {
		t.Errorf("%+v, %v", h, err)
	}
	both := opened(t, s, "r", "dsn", strings.Replace(s.DSN("postgres"), "@", "@"+strings.TrimPrefix(strings.Split(replica.DSN(""), "/")[2], "postgres@")+",", 1))
	if _, err := both.Apply(t.Context(), put("k", "y", 0)); err != nil {
		t.Errorf("of two hosts the one that accepts writes: %v", err)
	}
	s.Stop(syscall.SIGINT)
	if is := valueAt(t, b, "k"); is != "y" && is != "w" {
		t.Errorf("without a primary it is %s", is)
	}
}
