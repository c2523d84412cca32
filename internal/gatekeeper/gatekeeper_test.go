package gatekeeper_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/plinthkv/plinth/internal/gatekeeper"
)

// A server that has no time for those who call is still a server: its socket is
// not taken from it.
func TestSocketOfABusyServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	const enough = 1000
	for n := 0; ; n++ {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
		if n == enough {
			t.Fatal("a backlog that is never full")
		}
	}
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if l, _, err := (gatekeeper.Gatekeeper{Address: "unix:" + path}).Listen(gatekeeper.Scheme{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second server: %v, %v", l, err)
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) {
		t.Errorf("the socket is another one: %v", err)
	}
}
