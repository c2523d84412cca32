package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The oldest version of a server.
const oldMajor, oldMinor = 3, 5

// messageExtra is what a message of gRPC may have beside what is limited.
const messageExtra = 512 << 10

// mostMessage is the largest answer of a member, in bytes, that is read.
func (c *Config) mostMessage() int { return max(16<<20, int(c.MaxRequest)+messageExtra) }

// dial connects to the members, and asks until one has answered.
func (b *Backend) dial(ctx context.Context) error {
	secure, err := b.config.tls()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Connect))
	defer cancel()
	opened := make(chan error, 1)
	go func() { // the client has no other way to end it
		client, err := clientv3.New(clientv3.Config{
			Endpoints: b.config.Endpoints, Username: b.config.Username, Password: b.config.Password, TLS: secure,
			DialTimeout: time.Duration(b.config.Timeouts.Connect), DialKeepAliveTime: time.Duration(b.config.Keepalive), DialKeepAliveTimeout: 5 * time.Second,
			MaxCallSendMsgSize: int(b.config.MaxRequest) + messageExtra, MaxCallRecvMsgSize: b.config.mostMessage(),
			// A write is never made again by the client: it would do so with some whose
			// outcome is unknown. Reads are, by us.
			MaxUnaryRetries: 1, Logger: zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithStatsHandler(sending{}),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(b.config.mostMessage()), grpc.MaxCallSendMsgSize(int(b.config.MaxRequest)+messageExtra))},
		})
		b.client = client
		opened <- err
	}()
	if err := <-opened; err != nil {
		return b.unreached(ctx, "password", err)
	}
	b.kv, b.maintenance = pb.NewKVClient(b.client.ActiveConnection()), pb.NewMaintenanceClient(b.client.ActiveConnection())
	if err := b.greet(ctx); err != nil {
		_ = b.client.Close() // nothing was done with it
		return err
	}
	return nil
}

// unreached is why the cluster cannot be opened.
func (b *Backend) unreached(ctx context.Context, path string, err error) error {
	f := judge(err, true)
	e := &storage.Error{Code: f.code, Layer: layer, Op: "open", ConfigPath: path, Err: err, Msg: f.text()}
	switch f.code {
	case storage.Unauthenticated, storage.PermissionDenied, storage.InvalidArgument:
		return e
	case storage.Canceled, storage.Internal:
		if !errors.Is(ctx.Err(), context.Canceled) {
			e.Code = storage.Unavailable
		}
	}
	if ctx.Err() != nil || f.code == storage.Timeout {
		e.Code, e.Msg = storage.Unavailable, fmt.Sprintf("no member answers within %v", b.config.Timeouts.Connect)
		if desc := rpctypes.ErrorDesc(err); !strings.Contains(desc, "deadline exceeded") {
			e.Msg += ": " + desc
		}
	}
	if path == "password" { // the client asks for a token first
		e.ConfigPath = "endpoints"
	}
	return e
}

// greet asks all members what they are, and goes by the first that answers.
func (b *Backend) greet(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		at     int
		status *clientv3.StatusResponse
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
		return nil
	}
	return first
}

// status asks a member until it answers, or says that it will not.
func (b *Backend) status(ctx context.Context, endpoint string) (s *clientv3.StatusResponse, err error) {
	for n := 0; ; n++ {
		if s, err = b.client.Status(ctx, endpoint); err == nil {
			return s, nil
		}
		if f := judge(err, true); !f.again || n == 3 { // it may be starting
			return nil, err
		}
		select {
		case <-time.After(firstWait << n):
		case <-ctx.Done():
			return nil, err
		}
	}
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

// tls is the configuration of connections; nil: they are plain.
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
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.cert", "the client's certificate cannot be read: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}
