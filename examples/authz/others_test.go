//go:build unix

package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/plinthkv/plinth/internal/etcdtest"
	"github.com/plinthkv/plinth/internal/pgtest"
)

// On etcd and PostgreSQL the service runs by one other line in its configuration.
func TestOtherBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts an etcd and a PostgreSQL; memory and pebble have the same tests")
	}
	member, err := etcdtest.Start(filepath.Join(t.TempDir(), "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(member.Stop)
	database, err := pgtest.New("fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Remove)
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	servers["etcd"] = fmt.Sprintf("plugin: etcd, config: { endpoints: [%q], prefix: authz-%%d/ }", member.Endpoint)
	servers["postgres"] = fmt.Sprintf("plugin: postgres, config: { dsn: %q, table: authz%%d, create: true }", database.DSN("postgres"))
	for kind := range servers {
		t.Run(kind, func(t *testing.T) {
			t.Run("checks", func(t *testing.T) { checks(t, kind) })
			t.Run("one state", func(t *testing.T) { oneState(t, kind) })
			t.Run("lost updates", func(t *testing.T) { lostUpdates(t, kind) })
			t.Run("indexes", func(t *testing.T) { indexes(t, kind) })
		})
	}
}
