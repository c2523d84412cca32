//go:build unix

package frames

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// How long a socket is polled before its reader sleeps, and when that is tried:
// after so many reads in a row that were of one call alone, and after a poll that
// came to nothing not again for up to so many reads, so that on a busy machine one read
// in hundreds pays for it. Polling while several calls are under way, or while others
// need the processor, makes all of them slower.
const (
	pollFor   = 50 * time.Microsecond
	pollAfter = 32
	mostSkip  = 255
)

// Conn wraps a unix socket that one goroutine at a time reads, by polling while that pays.
type Conn struct {
	unix *net.UnixConn
	raw  syscall.RawConn

	// What follows is the reader's.
	read        func(uintptr) bool // built once, so that a read allocates nothing
	buf         []byte
	n           int
	err         error
	poll        bool
	alone       func() bool // whether one call alone is under way
	beforeSleep func()      // called before the reader sleeps, if it does
	ones        int         // reads in a row that were of one call
	skip        int         // reads that are not polled any more
	back        int

	// What follows is the writer's.
	write   func(uintptr) bool
	out     []byte
	written int
	werr    error
}

// NewConn takes over c.
func NewConn(c *net.UnixConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	conn := &Conn{unix: c, raw: raw, alone: func() bool { return false }, beforeSleep: func() {}}
	conn.read, conn.write = conn.tryRead, conn.tryWrite
	return conn, nil
}

// Close ends the connection. Reads and writes that wait end with an error.
func (c *Conn) Close() error { return c.unix.Close() }

// tryRead reads once, or polls. It returns false for the reader to sleep until
// something comes.
func (c *Conn) tryRead(fd uintptr) bool {
	var began time.Time
	for i := 0; ; i++ {
		n, err := readNow(fd, c.buf)
		switch {
		case err == 0:
			c.n = n
			return true
		case err == syscall.EINTR:
			continue
		case err != syscall.EAGAIN:
			c.err = err
			return true
		case !c.poll:
			c.beforeSleep()
			return false
		case i == 0:
			began = time.Now()
		case i%8 == 0 && time.Since(began) > pollFor:
			c.poll = false
			c.back = min(2*c.back+1, mostSkip)
			c.skip = c.back
			c.beforeSleep()
			return false
		}
	}
}

// fill reads what there is into b, which is not empty.
func (c *Conn) fill(b []byte) (int, error) {
	c.buf, c.n, c.err, c.poll = b, 0, nil, false
	switch {
	case !c.alone():
		c.ones = 0
	case c.ones < pollAfter:
		c.ones++
	case c.skip > 0:
		c.skip--
	default:
		c.poll = true
	}
	polled := c.poll
	err := c.raw.Read(c.read)
	c.buf = nil
	if polled && c.poll {
		c.back /= 2
	}
	switch {
	case err != nil:
		return 0, err
	case c.err != nil:
		return 0, os.NewSyscallError("read", c.err)
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// tryWrite writes as much as the socket accepts at once.
func (c *Conn) tryWrite(fd uintptr) bool {
	for {
		n, err := writeNow(fd, c.out)
		switch err {
		case 0:
			c.written = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			c.werr = err
		}
		return true
	}
}

// offer writes as much of b as the socket takes without waiting.
func (c *Conn) offer(b []byte) (int, error) {
	c.out, c.written, c.werr = b, 0, nil
	err := c.raw.Write(c.write)
	c.out = nil
	if err == nil && c.werr != nil {
		err = os.NewSyscallError("write", c.werr)
	}
	return c.written, err
}

// push writes all of b, and returns how much of it the socket has accepted. It waits at
// most patience each time that the peer accepts nothing; if negative, indefinitely.
func (c *Conn) push(b []byte, patience time.Duration) (written int, _ error) {
	for {
		var end time.Time
		if patience >= 0 {
			end = time.Now().Add(patience)
		}
		if err := c.unix.SetWriteDeadline(end); err != nil {
			return written, err
		}
		n, err := c.unix.Write(b)
		written += n
		if err == nil || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			if deadline := c.unix.SetWriteDeadline(time.Time{}); err == nil {
				err = deadline
			}
			return written, err
		}
		b = b[n:]
	}
}

// wake has the reader that sleeps, or would, end with os.ErrDeadlineExceeded,
// until clearWake is called.
func (c *Conn) wake()      { _ = c.unix.SetReadDeadline(time.Unix(1, 0)) } // it fails on a closed socket, which is not read any more
func (c *Conn) clearWake() { _ = c.unix.SetReadDeadline(time.Time{}) }
