//go:build unix

package frames

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// If the other side answers late, almost no read is polled; once it answers at once, all are again.
func TestPollsThatComeToNothing(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close() // it is a copy
		ends[i] = c.(*net.UnixConn)
		defer c.Close()
	}
	c, err := NewConn(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	c.alone = func() bool { return true }
	b := make([]byte, 1)
	vain := 0
	read := func(late bool) {
		if late {
			time.AfterFunc(20*pollFor, func() { _, _ = ends[1].Write(b) })
		} else if _, err := ends[1].Write(b); err != nil {
			t.Fatal(err)
		}
		before := c.back
		if _, err := c.fill(b); err != nil {
			t.Fatal(err)
		}
		if c.back > before || late && c.back == mostSkip && c.skip == mostSkip {
			vain++
		}
	}
	const reads = 1000
	for range reads {
		read(true)
	}
	if vain == 0 || vain > reads/50 {
		t.Errorf("%d of %d reads were polled for nothing", vain, reads)
	}
	for range 4 * mostSkip {
		read(false)
	}
	if c.back != 0 || c.skip != 0 {
		t.Errorf("after %d answers at once, %d reads are still not polled", 4*mostSkip, max(c.back, c.skip))
	}
}
