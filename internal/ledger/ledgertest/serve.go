package ledgertest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// Refusal carries a status with the details that the server gives: see [Refuse].
type Refusal struct {
	code    codes.Code
	message string
	details *ledgerpb.ErrorDetails // nil if none
	trailer metadata.MD
}

// Error returns the message.
func (r *Refusal) Error() string { return r.message }

func refuse(code codes.Code, number, message string) *Refusal {
	retry := code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.ResourceExhausted
	return &Refusal{code: code, message: message, details: &ledgerpb.ErrorDetails{ErrorCode: number, IsRetryable: retry}}
}

// plainly returns a refusal without details, as those of reads are.
func plainly(code codes.Code, message string) *Refusal { return &Refusal{code: code, message: message} }

// handler is one method.
type handler struct {
	request func() proto.Message
	do      func(*Node, context.Context, proto.Message) (proto.Message, error)
	// stream is in the place of do for a method whose answers have no end.
	stream func(*Node, context.Context, proto.Message, grpc.ServerStream) error
	early  bool // it works before the cluster is set up
}

// on makes a handler of a method of Node.
func on[Q any, P interface {
	*Q
	proto.Message
}, A proto.Message](do func(*Node, context.Context, P) (A, error)) handler {
	return handler{request: func() proto.Message { return P(new(Q)) },
		do: func(n *Node, ctx context.Context, m proto.Message) (proto.Message, error) { return do(n, ctx, m.(P)) }}
}

// streams returns the handler of a method that sends its answers itself.
func streams[Q any, P interface {
	*Q
	proto.Message
}](do func(*Node, context.Context, P, grpc.ServerStream) error) handler {
	return handler{request: func() proto.Message { return P(new(Q)) },
		stream: func(n *Node, ctx context.Context, m proto.Message, s grpc.ServerStream) error {
			return do(n, ctx, m.(P), s)
		}}
}

func early(h handler) handler {
	h.early = true
	return h
}

// handlers returns all methods, by the end of their names.
func handlers() map[string]handler {
	return map[string]handler{
		"ReadService/Read":                      on((*Node).read),
		"ReadService/BatchRead":                 on((*Node).batchRead),
		"ReadService/ListEntities":              on((*Node).listEntities),
		"ReadService/VerifiedRead":              on((*Node).verifiedRead),
		"ReadService/HistoricalRead":            on((*Node).historicalRead),
		"ReadService/GetBlock":                  on((*Node).getBlock),
		"ReadService/GetBlockRange":             on((*Node).getBlockRange),
		"ReadService/GetTip":                    on((*Node).getTip),
		"ReadService/WatchBlocks":               streams((*Node).watchBlocks),
		"WriteService/Write":                    on((*Node).write),
		"HealthService/Check":                   early(on((*Node).check)),
		"AdminService/InitCluster":              early(on((*Node).initCluster)),
		"AdminService/GetNodeInfo":              early(on((*Node).getNodeInfo)),
		"AdminService/GetClusterInfo":           on((*Node).getClusterInfo),
		"AdminService/ProvisionRegion":          on((*Node).provisionRegion),
		"AdminService/ShowVault":                on((*Node).showVault),
		"UserService/InitiateEmailVerification": on((*Node).initiateEmailVerification),
		"UserService/VerifyEmailCode":           on((*Node).verifyEmailCode),
		"UserService/CompleteRegistration":      on((*Node).completeRegistration),
		"VaultService/CreateVault":              on((*Node).createVault),
		"VaultService/GetVault":                 on((*Node).getVault),

		"SystemDiscoveryService/ResolveRegionLeader": on((*Node).resolveRegionLeader),
	}
}

// serve answers one call of any method.
func (n *Node) serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	h, ok := n.c.handlers[strings.TrimPrefix(method, "/ledger.v1.")]
	if !ok {
		return status.Error(codes.Unimplemented, "unknown method")
	}
	request := h.request()
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	answer, err := n.handle(stream.Context(), method, h, request)
	if err == nil && h.stream != nil {
		if err = h.stream(n, stream.Context(), request, stream); err == nil {
			return nil
		}
	}
	if err != nil {
		return n.refused(stream, err)
	}
	_ = stream.SetHeader(metadata.Pairs("x-ledger-api-version", "1")) // nothing was sent yet
	return stream.SendMsg(answer)
}

func (n *Node) handle(ctx context.Context, method string, h handler, request proto.Message) (proto.Message, error) {
	hooks := n.c.hook()
	if hooks.Before != nil {
		if err := hooks.Before(ctx, n, method); err != nil {
			return nil, err
		}
	}
	if err := n.hang(ctx); err != nil {
		return nil, err
	}
	if err := checkVersion(ctx, method); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	initialized, forgot := n.c.initialized, n.c.forgot
	n.c.tick()
	n.c.mu.Unlock()
	if !initialized && !h.early {
		if n.c.quirks.NotFoundBefore && (strings.Contains(method, "ReadService/") || strings.HasSuffix(method, "GetVault") || strings.HasSuffix(method, "ShowVault")) {
			return nil, plainly(codes.NotFound, "Organization with slug not found")
		}
		return nil, refuse(codes.Unavailable, "2000", "cluster is not initialized")
	}
	if forgot && strings.HasSuffix(method, "WriteService/Write") {
		return nil, refuse(codes.Unavailable, "2000", "the organization is not active on this node")
	}
	if h.stream != nil {
		return nil, nil
	}
	answer, err := h.do(n, ctx, request)
	if err != nil {
		return nil, err
	}
	n.distort(answer)
	if hooks.After != nil {
		if err := hooks.After(ctx, n, method); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// checkVersion refuses clients of another version of the protocol.
func checkVersion(ctx context.Context, method string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	v := md.Get("x-ledger-api-version")
	if len(v) == 0 || strings.Contains(method, "HealthService") {
		return nil
	}
	switch n, err := strconv.Atoi(v[0]); {
	case err != nil:
		return refuse(codes.InvalidArgument, "3203", "the API version is no number")
	case n != 1:
		return refuse(codes.FailedPrecondition, "3103", "unsupported API version")
	}
	return nil
}

// refused returns err as it goes over the wire: with the details in a trailer that is not
// theirs.
func (n *Node) refused(stream grpc.ServerStream, err error) error {
	r, ok := err.(*Refusal)
	if !ok {
		return status.FromContextError(err).Err()
	}
	trailer := metadata.Join(r.trailer, metadata.Pairs("x-request-id", strconv.FormatInt(time.Now().UnixNano(), 36)))
	if r.details != nil && n.c.quirks.RawDetails {
		raw, err := proto.Marshal(r.details)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		trailer = metadata.Join(trailer, metadata.MD{"grpc-status-details-bin": {string(raw)}})
	}
	stream.SetTrailer(trailer)
	return status.Error(r.code, r.message)
}

// Refuse returns an error for hooks: a status with a diagnostic number, as the server's.
func Refuse(code codes.Code, number, message string) *Refusal { return refuse(code, number, message) }

// After returns r with a time to wait, as the rate limiter's.
func (r *Refusal) After(d time.Duration) *Refusal {
	r.trailer = metadata.Pairs("retry-after-ms", strconv.FormatInt(d.Milliseconds(), 10))
	return r
}

// Retryable returns r, marked as worth another attempt.
func (r *Refusal) Retryable() *Refusal {
	r.details.IsRetryable = true
	return r
}

// Leader returns r with the hint that another node leads.
func (r *Refusal) Leader(endpoint string) *Refusal {
	r.details.Context = map[string]string{"leader_endpoint": endpoint}
	return r
}
