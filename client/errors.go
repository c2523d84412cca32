package client

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/storage"
)

// layer is the layer of this package's errors.
const layer = "remote"

// error adds this client as the layer, if the error has none.
func (c *Client) error(op string, e *storage.Error) *storage.Error {
	if e.Layer != "" {
		return e
	}
	named := *e
	named.Layer = layer
	if named.Op == "" {
		named.Op = op
	}
	return &named
}

// failure returns the meaning of a call's error, and whether it is the server's own answer.
// ctx is the caller's.
func (c *Client) failure(ctx context.Context, op string, err error) (e *storage.Error, answered bool) {
	if e := abigrpc.FromStatus(err); e != nil {
		if e.Code == storage.ShuttingDown { // the server is, not this
			e.Code = storage.Unavailable
			if e.Msg == "" {
				e.Msg = "the server is shutting down"
			}
		}
		return e, true
	}
	if err := ctx.Err(); err != nil {
		return storage.AsError(err), false
	}
	s, _ := status.FromError(err)
	code := storage.Internal
	switch s.Code() {
	case codes.Unavailable:
		code = storage.Unavailable
	case codes.DeadlineExceeded: // of an attempt, or of a proxy
		code = storage.Timeout
	case codes.Canceled:
		code = storage.Unavailable
	case codes.ResourceExhausted:
		code = storage.RangeLimit
	case codes.Unimplemented:
		code = storage.Unsupported
	case codes.Unauthenticated:
		code, answered = storage.Unauthenticated, true
	case codes.PermissionDenied:
		code, answered = storage.PermissionDenied, true
	}
	return c.error(op, &storage.Error{Code: code, Msg: c.config.Address + ": " + abi.Printable(plain(s.Message()))}), answered || code == storage.Unsupported
}

// plain returns gRPC's message without its prefixes.
func plain(message string) string {
	const dialing, handshake = "Error while dialing: ", "authentication handshake failed: "
	for _, head := range []string{dialing, handshake} {
		if _, rest, ok := strings.Cut(message, head); ok {
			message = strings.TrimSuffix(rest, "\"")
			break
		}
	}
	return strings.TrimSuffix(message, "; "+spent)
}

// unsent reports whether a call's error says that it was certainly not sent.
func unsent(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable && strings.Contains(s.Message(), spent)
}

// unreachable returns why a connection could not be made.
func (c *Client) unreachable(ctx context.Context, err error) *storage.Error {
	var own *storage.Error
	if errors.As(err, &own) {
		return c.error("", own)
	}
	e, answered := c.failure(ctx, "", err)
	switch {
	case answered:
		return c.error("", e)
	case c.life.Err() != nil:
		return c.error("", &storage.Error{Code: storage.ShuttingDown})
	case errors.Is(e, context.DeadlineExceeded) || e.Code == storage.Timeout:
		return c.error("", storage.Errorf(storage.Unavailable, "%s: no answer within %s", c.config.Address, c.config.ConnectTimeout))
	}
	return c.error("", &storage.Error{Code: storage.Unavailable, Msg: e.Msg, Err: e.Err})
}

// unreadable returns the error of an answer that cannot be one.
func (c *Client) unreadable(op string, err error) error {
	return c.error(op, &storage.Error{Code: storage.Internal, Msg: "invalid answer of the server: " + err.Error()})
}
