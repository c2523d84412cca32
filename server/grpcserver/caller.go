package grpcserver

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/plinthkv/plinth/internal/budget"
)

// caller is a connection, as its calls know it.
type caller struct {
	credentials.AuthInfo
	conn   net.Conn
	client any          // whom its memory is counted for
	unsent atomic.Int64 // bytes of answers that the connection still has to take
}

func newCaller(conn net.Conn, info credentials.AuthInfo) *caller {
	c := &caller{AuthInfo: info, conn: conn, client: conn}
	if t, ok := info.(credentials.TLSInfo); ok && len(t.State.VerifiedChains) > 0 {
		c.client = budget.Identity(t.State.PeerCertificates[0])
	}
	return c
}

// callerOf returns the connection of a call, or nil if it is unknown.
func callerOf(ctx context.Context) *caller {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	c, _ := p.AuthInfo.(*caller)
	return c
}
