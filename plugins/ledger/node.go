package ledger

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// What the connections of the original's client are like.
const (
	pingAfter     = 30 * time.Second
	pingTimeout   = 10 * time.Second
	redialAtFirst = 50 * time.Millisecond
	redialAtMost  = time.Second
)

// node is one server of the cluster. All but its address and connections is
// the pool's.
type node struct {
	address
	conns []*grpc.ClientConn
	turn  atomic.Uint32 // of conns
	dials atomic.Uint32 // how often a connection was made: the node may be another process then

	tracer trace.TracerProvider // of spans whose parents are in another process, or nil if there are none

	told own // of the lock of heights

	failures  int
	notBefore time.Time // until then others are better
	lost      bool      // it could not be reached, and has not answered since
	probed    bool      // it is being asked whether it answers again
	hinted    bool      // it is not of the configuration
}

// dialer makes nodes.
type dialer struct {
	connect  time.Duration
	tls      *tls.Config
	compress bool
	answer   int // the largest, in bytes
	http2    HTTP2
	conns    int // to each node
	tracer   trace.TracerProvider
}

func (d *dialer) node(a address) (*node, error) {
	n := &node{address: a, tracer: d.tracer}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(a.credentials(d.tls)), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(d.answer), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithInitialWindowSize(int32(d.http2.StreamWindow)), grpc.WithInitialConnWindowSize(int32(d.http2.ConnectionWindow)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: d.connect,
			Backoff: backoff.Config{BaseDelay: redialAtFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialAtMost}}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			n.dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, a.network, a.dial)
		}),
	}
	if d.compress {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	}
	for range max(d.conns, 1) {
		conn, err := grpc.NewClient("passthrough:///"+a.host, options...)
		if err != nil {
			n.close()
			return nil, err
		}
		n.conns = append(n.conns, conn)
	}
	return n, nil
}

// conn returns the connection whose turn it is.
func (n *node) conn() *grpc.ClientConn { return n.conns[int(n.turn.Add(1))%len(n.conns)] }

func (n *node) close() {
	for _, c := range n.conns {
		_ = c.Close() // it fails only when it was closed before
	}
}

// unary describes to gRPC a call of one message and one answer.
func unary(method string) *grpc.StreamDesc {
	return &grpc.StreamDesc{StreamName: method[strings.LastIndexByte(method, '/')+1:]}
}

// attempt sends one request and waits for the answer.
func (n *node) attempt(ctx context.Context, method string, request, answer proto.Message) *failure {
	ctx, end := traced(ctx, n, method)
	stream, err := n.conn().NewStream(ctx, unary(method), method)
	if err != nil {
		return end(n.failure(err, nil, nil, false))
	}
	// The end of a stream whose request could not be sent is what it receives.
	_ = stream.SendMsg(request)
	if err := stream.RecvMsg(answer); err != nil {
		header, _ := stream.Header()
		return end(n.failure(err, header, stream.Trailer(), true))
	}
	return end(nil)
}

func (n *node) failure(err error, header, trailer metadata.MD, sent bool) *failure {
	f := &failure{sent: sent, answered: len(trailer) > 0}
	f.Endpoint = n.name
	f.Code, f.Message, f.Details = recovered(err, trailer)
	if f.Code == codes.OK { // an answer that ended before it began
		f.Code = codes.Unavailable
	}
	for _, md := range []metadata.MD{trailer, header} {
		if id := md.Get("x-request-id"); len(id) > 0 {
			f.RequestID = id[0]
		}
	}
	if f.Code == codes.ResourceExhausted {
		f.retryAfter = milliseconds(trailer.Get("retry-after-ms"))
	}
	if ms := f.Details.GetRetryAfterMs(); ms > 0 && f.retryAfter == 0 {
		f.retryAfter = time.Duration(ms) * time.Millisecond
	}
	return f
}

func milliseconds(values []string) time.Duration {
	if len(values) == 0 {
		return 0
	}
	ms, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || ms <= 0 || ms > int64(24*time.Hour/time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
