package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/secret/keypair"
)

// Config configures the connection to a store. Zero fields have their defaults.
type Config struct {
	Address string        // "host:port", or "unix:/path"
	Store   string        // its name on the server; optional if it is the only one
	Token   *secret.Value // bearer token; optional; requires TLS beyond loopback
	TLS     TLS

	ConnectTimeout time.Duration // to connect and to read the store's capabilities; by default 5 s
	AttemptTimeout time.Duration // of one attempt of a call; by default only the context's deadline
	Keepalive      time.Duration // silence on a connection before it is pinged; by default 20 s, at least 10 s
	Refresh        time.Duration // how often the store's capabilities are read; by default 5 s
	Attempts       int           // of a call, including the first; by default 4
	MessageBytes   int           // of an answer; by default 64 MiB
}

// TLS configures the certificates of a connection. The zero value means plain text. If
// any field is set, the connection is encrypted.
type TLS struct {
	CA         string // PEM file of the CA of the server's certificate; "system", the default: those the system trusts
	Cert, Key  string // PEM files of the caller's certificate
	ServerName string // name in the server's certificate; by default the host of the address
}

// Settings holds what code passes to a client in addition to its configuration.
type Settings struct {
	Clock func() time.Time // must not go back; if nil, the clock of package clock
	Log   *slog.Logger     // if nil, slog.Default()

	Tracer trace.TracerProvider // provider for spans; if nil, no spans are recorded
	Meter  metric.MeterProvider // provider for metrics; if nil, no metrics are recorded
	// Options adds options to the gRPC connection.
	Options []grpc.DialOption
}

// SystemCA selects, as [TLS].CA, the certificates that the system trusts.
const SystemCA = "system"

// pingTimeout limits how long the answer to a ping may take.
const pingTimeout = 10 * time.Second

// WithDefaults returns c with all defaults set.
func (c Config) WithDefaults() Config {
	for _, d := range []struct {
		have *time.Duration
		want time.Duration
	}{{&c.ConnectTimeout, 5 * time.Second}, {&c.Keepalive, 20 * time.Second}, {&c.Refresh, 5 * time.Second}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
	if c.Attempts <= 0 {
		c.Attempts = 4
	}
	if c.MessageBytes <= 0 {
		c.MessageBytes = abi.DefaultMaxFrame
	}
	return c
}

// unixPath returns the path of a unix socket's address.
func (c *Config) unixPath() (string, bool) { return strings.CutPrefix(c.Address, "unix:") }

// Validate checks the configuration, without reading files.
func (c *Config) Validate() error {
	if c.TLS.Cert == "" != (c.TLS.Key == "") {
		return errors.New("cert and key must be set together")
	}
	if path, ok := c.unixPath(); ok {
		if path == "" {
			return errors.New("the address after unix: must be a path")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("the address %.100q is neither host:port nor unix:/path", c.Address)
	}
	if c.Token.Len() > 0 && c.TLS == (TLS{}) && !loopback(host) {
		return fmt.Errorf("the token for %s requires TLS, because it would be sent in the clear", c.Address)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tls returns the TLS settings, nil for plain text.
func (c *Config) tls() (*tls.Config, error) {
	if c.TLS == (TLS{}) {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		host = "localhost"
	}
	return c.TLS.Config(host)
}

// Config reads the files and returns the TLS configuration for a server on host.
func (s TLS) Config(host string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(s.ServerName, host)}
	if s.CA != "" && s.CA != SystemCA {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s contains no certificate", s.CA)
		}
	}
	if s.Cert != "" {
		cert, err := keypair.Load(s.Cert, s.Key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}
