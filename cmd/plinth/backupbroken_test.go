package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// cutting is a proxy for a server that breaks connections after so many bytes, so often.
func cutting(t *testing.T, server string, bytes int64, cuts int32) (address string, left *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	left = &atomic.Int32{}
	left.Store(cuts)
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				from.Close()
				return
			}
			go func() {
				_, _ = io.Copy(to, from) // until one of the two is closed
				to.Close()
			}()
			go func() {
				defer from.Close()
				defer to.Close()
				if n, _ := io.CopyN(from, to, bytes); n == bytes && left.Add(-1) < 0 {
					_, _ = io.Copy(from, to)
				}
			}()
		}
	}()
	return l.Addr().String(), left
}

// A backup whose connections break continues in the state that it began with.
func TestBackupOverBrokenConnections(t *testing.T) {
	web, rpc := serveHere(t, "plugins: { memory: { isolation: none } }\nstores: { a: { backend: { plugin: memory } }, b: { backend: { plugin: memory } } }")
	dir := t.TempDir()
	var lines bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&lines, "{\"key\":\"k%06d\",\"value\":\"%0800d\"}\n", i, i)
	}
	file := filepath.Join(dir, "lines.jsonl")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "import", "--addr", web, "--store", "a", file)
	for scheme, server := range map[string]string{"http://": web, "grpc://": rpc} {
		through, left := cutting(t, strings.TrimPrefix(server, scheme), 500_000, 3)
		name := filepath.Join(dir, scheme[:4])
		_, errs, code := program(t, "backup", "--addr", scheme+through, "a", name)
		if code != 0 || left.Load() >= 0 {
			t.Fatalf("%s exit code %d, %d connections were not broken: %s", scheme, code, left.Load()+1, errs)
		}
		if scheme == "http://" && strings.Count(errs, "the connection broke after") != 3 {
			t.Errorf("it says: %s", errs)
		}
		done(t, "clear", "--addr", web, "--store", "b", "--all")
		done(t, "restore", "--addr", web, "b", name)
		done(t, "copy", "--from", web+"/a", "--to", web+"/b", "--verify-only")
	}
	// However often they break, it gets on as long as items come.
	through, _ := cutting(t, strings.TrimPrefix(web, "http://"), 500_000, 1<<30)
	name := filepath.Join(dir, "again")
	if _, errs, code := program(t, "backup", "--addr", "http://"+through, "a", name); code != 0 {
		t.Errorf("connections that break every 500 kB: %d %s", code, errs)
	}
}
