//go:build unix

package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

// transport sends calls to a plugin: as frames, or over gRPC.
type transport interface {
	// ask sends the message of c and returns that of the answer. If it fails, answered
	// reports whether the error is the plugin's answer, and sent whether the plugin may
	// have received the request; if false, it certainly has not. c stays the caller's.
	ask(ctx context.Context, op abi.Op, c *frames.Call) (message []byte, sent, answered bool, err error)
	// progress returns the numbers of answered calls, of calls in flight, and of calls that
	// their callers abandoned.
	progress() (answers uint64, inFlight int, left uint64)
	close()
}

// frameTransport asks by frames.
type frameTransport struct{ *frames.Client }

func (p frameTransport) ask(ctx context.Context, _ abi.Op, c *frames.Call) ([]byte, bool, bool, error) {
	sent, err := p.Do(ctx, c)
	return c.Message, sent, err == nil || c.Code != storage.OK, err
}

// progress counts abandoned calls as in flight until their answers arrive.
func (p frameTransport) progress() (uint64, int, uint64) { return p.Answers(), p.InFlight(), 0 }
func (p frameTransport) close()                          { p.Close() }

// grpcTransport asks over gRPC.
type grpcTransport struct {
	conn     *grpc.ClientConn
	wire     *wire
	answers  atomic.Uint64
	inFlight atomic.Int64
	left     atomic.Uint64
}

var methods = map[abi.Op]string{abi.OpGet: abigrpc.MethodGet, abi.OpGetMany: abigrpc.MethodGetMany, abi.OpScan: abigrpc.MethodScan,
	abi.OpApply: abigrpc.MethodApply, abi.OpChanges: abigrpc.MethodChanges, abi.OpHealth: abigrpc.MethodHealth}

func (p *grpcTransport) ask(ctx context.Context, op abi.Op, c *frames.Call) ([]byte, bool, bool, error) {
	f, err := c.Request()
	if err != nil {
		return nil, false, false, err
	}
	h := &c.Header
	md := metadata.MD{}
	for name, v := range map[string]int64{abigrpc.MetaNow: h.Now, abigrpc.MetaBudget: int64(h.Budget)} {
		if v > 0 {
			md[name] = []string{strconv.FormatInt(v, 10)}
		}
	}
	if len(h.Traceparent) > 0 {
		md[abigrpc.MetaTraceparent] = []string{string(h.Traceparent)}
		if len(h.Tracestate) > 0 {
			md[abigrpc.MetaTracestate] = []string{string(h.Tracestate)}
		}
	}
	if ctx.Err() != nil {
		return nil, false, false, storage.ContextError(ctx)
	}
	p.inFlight.Add(1)
	defer p.inFlight.Add(-1)
	var answer abigrpc.Raw
	method, ok := methods[op]
	if !ok { // only a test asks for it
		method = abigrpc.MethodGet + op.String()
	}
	sent, err := p.invoke(metadata.NewOutgoingContext(ctx, md), method, f.Message, &answer)
	if err == nil {
		p.answers.Add(1)
		return answer.Bytes, true, true, nil
	}
	if e := abigrpc.FromStatus(err); e != nil {
		p.answers.Add(1)
		return nil, true, true, e
	}
	if ctx.Err() != nil {
		p.left.Add(1)
		return nil, sent, false, storage.ContextError(ctx)
	}
	switch s := status.Convert(err); s.Code() {
	case codes.DeadlineExceeded: // the caller's, which passes there too, and may do so first
		p.left.Add(1)
		return nil, sent, false, storage.AsError(context.DeadlineExceeded)
	case codes.Unavailable, codes.Canceled: // the connection's
		return nil, sent, false, storage.Errorf(storage.Unavailable, "the call over gRPC: %s", firstLine(err.Error()))
	case codes.Unimplemented:
		err = storage.Errorf(storage.Unsupported, "the plugin does not implement %s", op)
	default: // a fault, of which nothing else is known
		e := &storage.Error{Code: storage.Internal, Msg: fmt.Sprintf("the plugin returned the status %s without an Error: %s", s.Code(), firstLine(s.Message()))}
		switch {
		case op == abi.OpApply:
			e.Code, e.Unknown = storage.OutcomeUnknown, true
		case s.Code() == codes.ResourceExhausted: // an answer that is too large
			e.Code = storage.RangeLimit
		}
		err = e
	}
	p.answers.Add(1)
	return nil, true, true, err
}

// unary describes the stream of a call with one message and one answer.
var unary = grpc.StreamDesc{}

// invoke makes a unary call. If it fails, sent reports whether the plugin may have received
// the message; if false, it certainly has not.
func (p *grpcTransport) invoke(ctx context.Context, method string, message []byte, answer *abigrpc.Raw) (sent bool, _ error) {
	mark := p.wire.mark()
	stream, err := p.conn.NewStream(ctx, &unary, method)
	if err != nil { // there is no connection to send it over
		return false, err
	}
	if err = stream.SendMsg(&abigrpc.Raw{Bytes: message}); err == nil || errors.Is(err, io.EOF) {
		err = stream.RecvMsg(answer)
	}
	// A call fails as Unavailable when its connection is closed, and not written to any more.
	return status.Code(err) != codes.Unavailable || p.wire.sentSince(mark), err
}

func (p *grpcTransport) progress() (uint64, int, uint64) {
	return p.answers.Load(), int(p.inFlight.Load()), p.left.Load()
}
func (p *grpcTransport) close() {}
