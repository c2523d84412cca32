//go:build unix

package procs

import (
	"context"
	"net"
	"sync/atomic"
)

// wire counts the writes to the gRPC connections of a run. gRPC does not report whether a
// failed call was sent; a call during which nothing was written was not.
type wire struct {
	begun  atomic.Uint64
	failed atomic.Uint64 // of which the socket accepted no byte
	done   atomic.Uint64 // the others, when they have ended
}

// dial connects to a plugin.
func (w *wire) dial(ctx context.Context, a net.Addr) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, a.Network(), a.String())
	if err != nil {
		return nil, err
	}
	return &wireConn{conn, w}, nil
}

// mark returns the time for sentSince.
func (w *wire) mark() uint64 { return w.done.Load() }

// sentSince reports whether something may have been written since the mark. A write that
// was in progress then counts, unless it has failed.
func (w *wire) sentSince(mark uint64) bool {
	failed := w.failed.Load() // first, so that a write that begins meanwhile counts
	return w.begun.Load()-failed != mark
}

// wireConn counts the writes of a connection.
type wireConn struct {
	net.Conn
	w *wire
}

// Write writes, and counts.
func (c *wireConn) Write(b []byte) (int, error) {
	c.w.begun.Add(1)
	n, err := c.Conn.Write(b)
	if err != nil && n == 0 {
		c.w.failed.Add(1)
	} else {
		c.w.done.Add(1)
	}
	return n, err
}
