//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/pgtest"
)

// A store on PostgreSQL is refused until its tables were created, which is done once. Its
// password is in nothing that is printed, and what is wrong with its configuration is reported
// at its line.
func TestPostgresInit(t *testing.T) {
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Remove()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	write := func(more string) {
		text := fmt.Sprintf("stores:\n  default:\n    backend:\n      plugin: postgres\n      config:\n        dsn: %s\n        password: ${env:PG_PASSWORD}\n        %s\n", server.DSN("postgres"), more)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plinth := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), args, env{stdin: strings.NewReader(""), stdout: &out, stderr: &out,
			environ: []string{"PG_PASSWORD=hunter2", "PLINTH_CACHE_DIR=" + sharedCache(t)}})
		return code, out.String()
	}
	for _, step := range []struct {
		more string
		args []string
		code int
		want string
	}{
		{"table: sessions", []string{"check", file}, exitDone, "store default: postgres"},
		{"table: sessions", []string{"serve", "--config", file, "--set", "server.http=127.0.0.1:0", "--set", "server.grpc=127.0.0.1:0"}, exitFailed, "create it with plinth postgres init"},
		{"table: sessions", []string{"postgres", "init", "--config", file}, exitDone, "were created"},
		{"table: sessions", []string{"postgres", "init", "--config", file}, exitDone, "exist"},
		{"table: sessions", []string{"postgres", "init", "--config", file, "--store", "no"}, exitUsage, "no store"},
		{"table: sessions", []string{"config", "show", "--config", file}, exitDone, "table: sessions"},
		{"tabel: sessions", []string{"check", file}, exitFailed, `plinth.yaml:8:16: stores.default.backend.config.tabel: plugin postgres: unknown field "tabel"`},
		{"table: a-b", []string{"check", file}, exitFailed, "plinth.yaml:8:16: stores.default.backend.config.table"},
	} {
		write(step.more)
		code, out := plinth(step.args...)
		if code != step.code || !strings.Contains(out, step.want) || strings.Contains(out, "hunter2") {
			t.Errorf("%v: %d\n%s", step.args, code, out)
		}
	}
}
