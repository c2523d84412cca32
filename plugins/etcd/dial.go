package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret/keypair"
	"github.com/plinthkv/plinth/storage"
)

// The oldest version of a server.
const oldMajor, oldMinor = 3, 5

// messageExtra is what a message of gRPC may have in addition to what is limited.
const messageExtra = 512 << 10

// mostMessage returns the largest answer of a member, in bytes, that is read.
func (c *Config) mostMessage() int { return max(16<<20, 2*int(c.MaxRequest)+messageExtra) }

// dial connects to the members. It first asks them what they are, without saying who asks.
func (b *Backend) dial(ctx context.Context) error {
	secure, err := b.config.tls()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Connect))
	defer cancel()
	if b.client, err = b.connect(secure, "", ""); err != nil {
		return b.unreached(ctx, "endpoints", err)
	}
	err = b.greet(ctx)
	if b.config.Username != "" && (err == nil || storage.CodeOf(err) == storage.Unauthenticated) {
		_ = b.client.Close() // nothing was done with it
		if b.client, err = b.connect(secure, b.config.Username, b.config.Password.Reveal()); err != nil {
			return b.unreached(ctx, "password", err)
		}
		err = b.greet(ctx)
	}
	if err != nil {
		_ = b.client.Close()
		return err
	}
	b.kv, b.maintenance = pb.NewKVClient(b.client.ActiveConnection()), pb.NewMaintenanceClient(b.client.ActiveConnection())
	return nil
}

// connect makes a client, which fetches a token if there is a user.
func (b *Backend) connect(secure *tls.Config, user, password string) (*clientv3.Client, error) {
	receive, send := b.config.mostMessage(), int(b.config.MaxRequest)+messageExtra
	return clientv3.New(clientv3.Config{
		Endpoints: b.config.Endpoints, Username: user, Password: password, TLS: secure,
		DialTimeout: time.Duration(b.config.Timeouts.Connect), DialKeepAliveTime: time.Duration(b.config.Keepalive), DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize: send, MaxCallRecvMsgSize: receive,
		// The client makes no call again: it would do so with some writes whose outcome is
		// unknown. It does fetch a new token, for the next attempt.
		MaxUnaryRetries: 1, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithPerRPCCredentials(leading{rpctypes.MetadataRequireLeaderKey: rpctypes.MetadataHasLeader}),
			// A member that is back is found in a second, not in two minutes.
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: time.Duration(b.config.Timeouts.Connect)}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receive), grpc.MaxCallSendMsgSize(send))},
	})
}

// unreached returns why the cluster cannot be opened.
func (b *Backend) unreached(ctx context.Context, path string, err error) error {
	f := judge(err, true)
	e := &storage.Error{Code: f.code, Layer: layer, Op: "open", ConfigPath: path, Err: err, Msg: f.text()}
	switch {
	case f.code == storage.Unauthenticated && b.config.Username == "":
		e.ConfigPath = "username"
		return e
	case f.code == storage.Unauthenticated, f.code == storage.PermissionDenied, f.code == storage.InvalidArgument:
		return e
	case ctx.Err() != nil, f.code == storage.Timeout:
		e.Msg = fmt.Sprintf("no member has answered within %v", b.config.Timeouts.Connect)
	default:
		e.Msg = "cannot be reached, or is not an etcd: " + e.Msg
	}
	e.Code = storage.Unavailable
	return e
}

// greet asks all members what they are, and uses the first answer.
func (b *Backend) greet(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		at     int
		status *pb.StatusResponse
		err    error
	}
	answers := make(chan answer, len(b.config.Endpoints))
	for i, e := range b.config.Endpoints {
		go func() {
			s, err := b.status(ctx, e)
			answers <- answer{i, s, err}
		}()
	}
	var first error
	for range b.config.Endpoints {
		a := <-answers
		path := fmt.Sprintf("endpoints[%d]", a.at)
		if a.err != nil {
			if first == nil {
				first = b.unreached(ctx, path, a.err)
			}
			continue
		}
		if tooOld(a.status.Version) {
			return sdk.ConfigErrorf(path, "the member at %s runs etcd %.20q, it must be %d.%d or later", b.config.Endpoints[a.at], a.status.Version, oldMajor, oldMinor)
		}
		b.cluster = a.status.Header.ClusterId
		if !tellsProgress(a.status.Version) {
			b.info.Caps &^= storage.CapChanges
		}
		return nil
	}
	return first
}

// status asks a member what it is. It does not wait for one that cannot be reached.
func (b *Backend) status(ctx context.Context, endpoint string) (*pb.StatusResponse, error) {
	conn, err := b.client.Dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
}

// firstWithProgress is the first version of the server whose watches report no progress
// before they have sent what there is: those before might have a follower miss changes.
const firstWithProgress = "3.5.8"

// tellsProgress reports whether a version is that, or a later one.
func tellsProgress(version string) bool {
	var major, minor, patch int
	n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch)
	return n == 3 && (major > 3 || major == 3 && (minor > 5 || minor == 5 && patch >= 8))
}

// tooOld reports whether a version is of a server that is not supported.
func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err != nil || err2 != nil || major < oldMajor || major == oldMajor && minor < oldMinor
}

// tls returns the configuration of connections, or nil if they are plain.
func (c *Config) tls() (*tls.Config, error) {
	if !c.secure() {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.ca", "tls.ca cannot be read: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, sdk.ConfigErrorf("tls.ca", "%s holds no certificate in PEM", c.TLS.CA)
		}
	}
	if c.TLS.Cert != "" {
		cert, err := keypair.Load(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.cert", "the client's certificate cannot be read: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}
