//go:build unix

package process

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// service describes the service to gRPC. Calls of the backend are answered by the same
// code as frames.
func (s *server) service() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: abigrpc.Service, Metadata: abigrpc.File(), Methods: []grpc.MethodDesc{
		method("Open", s.start),
		method("Attach", s.attach),
		method("Get", s.asking(abi.OpGet)), method("GetMany", s.asking(abi.OpGetMany)), method("Scan", s.asking(abi.OpScan)),
		method("Changes", s.asking(abi.OpChanges)), method("Apply", s.asking(abi.OpApply)), method("Health", s.asking(abi.OpHealth)),
		method("Info", func(context.Context, *abigrpc.Empty) (any, error) {
			b, err := s.get()
			if err != nil {
				return nil, err
			}
			return &abigrpc.Info{Info: b.Info()}, nil
		}),
		method("Close", func(ctx context.Context, _ *abigrpc.Empty) (any, error) {
			return &abigrpc.Empty{}, s.close(ctx)
		}),
	}}
	if s.plugin.Try != nil {
		d.Methods = append(d.Methods, method("Try", s.try))
	}
	return d
}

// method returns f as gRPC calls it.
func method[T any](name string, f func(context.Context, *T) (any, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(T)
		if err := read(request); err != nil {
			return nil, err
		}
		answer, err := f(ctx, request)
		if err != nil {
			return nil, abigrpc.ToStatus(err)
		}
		return answer, nil
	}}
}

// asking asks the backend for op. The metadata is the header of the frame.
func (s *server) asking(op abi.Op) func(context.Context, *abigrpc.Raw) (any, error) {
	return func(ctx context.Context, request *abigrpc.Raw) (any, error) {
		if _, err := s.get(); err != nil {
			return nil, err
		}
		h, err := header(ctx)
		if err != nil {
			return nil, err
		}
		s.tell(h.Now)
		frame, err := abi.EndFrame(append(abi.BeginFrame(nil, 0, uint8(op), h), request.Bytes...), 0)
		if err != nil {
			return nil, err
		}
		f, _, err := abi.ReadFrame(frame, len(frame))
		if err != nil {
			return nil, err
		}
		budget := s.maxFrame
		if h.Budget > 0 {
			budget = min(budget, int(h.Budget))
		}
		a := s.answerers.Get().(*sdk.Answerer)
		answer, _, err := abi.ReadFrame(a.AnswerIn(ctx, nil, f, budget), budget+sdk.AnswerReserve)
		s.answerers.Put(a)
		if err != nil {
			return nil, err
		}
		if e := answer.Err(); e != nil {
			return nil, e
		}
		return &abigrpc.Raw{Bytes: answer.Message}, nil
	}
}

// header returns what the metadata of a call says.
func header(ctx context.Context) (*abi.Header, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	h := &abi.Header{}
	if deadline, ok := ctx.Deadline(); ok {
		h.Deadline = max(time.Until(deadline).Milliseconds(), 1)
	}
	for _, v := range md.Get(abigrpc.MetaTraceparent) {
		h.Traceparent = []byte(v)
	}
	for _, v := range md.Get(abigrpc.MetaTracestate) {
		h.Tracestate = []byte(v)
	}
	var budget int64
	for name, to := range map[string]*int64{abigrpc.MetaNow: &h.Now, abigrpc.MetaBudget: &budget} {
		for _, v := range md.Get(name) {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 1 {
				return nil, storage.Errorf(storage.InvalidArgument, "%s is not a number above 0", name)
			}
			*to = n
		}
	}
	h.Budget = uint32(min(budget, 1<<31))
	return h, nil
}

// attach offers a data socket.
func (s *server) attach(ctx context.Context, request *abipb.AttachRequest) (any, error) {
	if _, err := s.get(); err != nil {
		return nil, err
	}
	path, token, err := s.offer()
	if err != nil {
		return nil, storage.Errorf(storage.Internal, "no data socket: %w", err)
	}
	return &abipb.AttachResponse{Path: path, Token: token}, nil
}
