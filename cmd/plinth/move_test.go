package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/etcdtest"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/internal/pgtest"
)

// serveHere serves a configuration until the test ends. It returns the addresses.
func serveHere(t *testing.T, config string) (web, rpc string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return serveFile(t, file)
}

// serveFile serves the configuration of a file until the test ends.
func serveFile(t *testing.T, file string, args ...string) (web, rpc string) {
	t.Helper()
	out, ended := &output{}, make(chan int, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		ended <- run(ctx, append([]string{"serve", "--config", file, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, args...),
			env{stdin: strings.NewReader(""), stdout: out, stderr: out, environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}})
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitDone {
			t.Errorf("serve ended with %d: %s", code, out)
		}
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, rest, ok := strings.Cut(out.String(), "plinth: ready on "); ok && strings.Contains(rest, ",") {
			addresses, _, _ := strings.Cut(rest, ",")
			web, rpc, _ = strings.Cut(addresses, " and ")
			return web, rpc
		}
	}
	t.Fatalf("not ready within a minute: %s", out)
	return "", ""
}

// done runs the program, which must end well.
func done(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	out, errs, code := program(t, args...)
	if code != exitDone {
		t.Fatalf("plinth %s: %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// cities are lines as import reads them, in the order of their keys: names of many scripts, and
// keys and values that are not text.
func cities(n int) []byte {
	names := []string{"Aarau", "Łódź", "Αθήνα", "Киев", "القاهرة", "दिल्ली", "北京市", "🏝"}
	var b bytes.Buffer
	for _, name := range names {
		for i := range n / len(names) {
			l := line{key: fmt.Appendf(nil, "city/%s/%05d", name, i), value: fmt.Appendf(nil, `{"lat":%d.5,"name":%q}`, i%90, name)}
			if i%7 == 0 {
				l.value = []byte{0, 0xff, byte(i)}
			}
			if i%11 == 0 {
				l.value = []byte{}
			}
			_ = l.writeJSON(&b)
		}
	}
	_ = line{key: []byte("\xff\xfe"), value: []byte("bytes")}.writeJSON(&b)
	return b.Bytes()
}

// Cities go through every kind of backend, over both protocols, and come back as they were.
func TestMovingThroughAllBackends(t *testing.T) {
	c := ledgerCluster(t, ledgertest.Options{})
	dir := t.TempDir()
	member, err := etcdtest.Start(filepath.Join(dir, "etcd"))
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
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	web, rpc := serveHere(t, fmt.Sprintf(`
plugins:
  pebble: { grants: { dir: %s } }
  ledger: { isolation: none }
stores:
  first: { backend: { plugin: memory }, pipeline: [] }
  disk: { backend: { plugin: pebble }, pipeline: [] }
  etcd: { backend: { plugin: etcd, config: { endpoints: [%q], prefix: cities/ } }, pipeline: [] }
  table: { backend: { plugin: postgres, config: { dsn: %q, table: cities, create: true } }, pipeline: [] }
  cluster: { backend: { plugin: ledger, config: { endpoints: [%q], organization: %d, vault: %d } }, pipeline: [] }
  last: { backend: { plugin: memory }, pipeline: [] }
`, filepath.Join(dir, "data"), member.Endpoint, database.DSN("postgres"), c.Endpoints()[0], ledgertest.Organization, ledgertest.Vault))
	file := filepath.Join(dir, "cities.jsonl")
	want := cities(2400)
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "import", "--addr", web, "--store", "first", file)
	done(t, "copy", "--from", web+"/first", "--to", rpc+"/disk", "--verify")
	done(t, "copy", "--from", rpc+"/disk", "--to", web+"/etcd", "--verify")
	done(t, "copy", "--from", web+"/etcd", "--to", rpc+"/table", "--verify")
	done(t, "copy", "--from", rpc+"/table", "--to", web+"/cluster", "--verify")
	lost := []string{"copy", "--from", web + "/cluster", "--to", rpc + "/last"}
	if _, errs, code := program(t, lost...); code != exitFailed || !strings.Contains(errs, "does not return expiries (no expiry_on_read); use --without-ttl") {
		t.Errorf("expiries that are not reported are lost in silence: %d, %s", code, errs)
	}
	done(t, append(lost, "--without-ttl", "--verify")...)
	done(t, "copy", "--from", web+"/first", "--to", rpc+"/last", "--verify-only")
	if got := done(t, "export", "--addr", web, "--store", "last", "-"); got != string(want) {
		t.Errorf("%d bytes come back, %d went in", len(got), len(want))
	}

	// A backup is of one state, which this cluster cannot read.
	name := filepath.Join(dir, "backup")
	for _, address := range []string{web, rpc} {
		if _, errs, code := program(t, "backup", "--addr", address, "cluster", name); code != exitFailed || !strings.Contains(errs, "no snapshot_scan") {
			t.Errorf("%d, %s", code, errs)
		}
		if _, err := os.Stat(name); err == nil {
			t.Error("there is a file")
		}
	}
	done(t, "backup", "--addr", web, "disk", name)
	done(t, "clear", "--addr", rpc, "--store", "last", "--all")
	done(t, "restore", "--addr", rpc, "last", name)
	done(t, "copy", "--from", web+"/first", "--to", rpc+"/last", "--verify-only")
}
