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
)

// Config is where a store is and how it is reached. Zero fields are the defaults.
type Config struct {
	Address string // "host:port", or "unix:/path"
	Store   string // its name on the server; empty: the only one there
	Token   string // bearer token; empty: none; needs TLS beyond loopback
	TLS     TLS

	ConnectTimeout time.Duration // to reach the server and hear what it can do; 0: 5 s
	AttemptTimeout time.Duration // of one attempt of a call; 0: as the caller's context says
	Keepalive      time.Duration // of a silent connection, until it is pinged; 0: 20 s; least: 10 s
	Refresh        time.Duration // how often the server is asked what it can do; 0: 5 s
	Attempts       int           // of a call, the first included; 1: none is repeated; 0: 4
	MessageBytes   int           // of an answer; 0: 64 MiB
}

// TLS is how the server is known and, where it asks for that, who the caller is. The
// zero value: plain text. With any field set the connection is encrypted.
type TLS struct {
	CA         string // PEM file of who signed the server's certificate; "system": those the system trusts, also if empty
	Cert, Key  string // PEM files of the caller's certificate
	ServerName string // what the server's certificate is for; empty: the address's host
}

// Settings are what code hands to a client beside its configuration.
type Settings struct {
	Clock func() time.Time // must not go back; nil: the clock of package clock
	Log   *slog.Logger     // nil: slog.Default()

	Tracer trace.TracerProvider // where spans go; nil: nowhere
	Meter  metric.MeterProvider // where metrics go; nil: nowhere
	// Options are further ones of the gRPC connection.
	Options []grpc.DialOption
}

// SystemCA stands for the certificates that the system trusts.
const SystemCA = "system"

// pingTimeout is how long the answer to a ping may take.
const pingTimeout = 10 * time.Second

// WithDefaults returns c with something in each field that has a default.
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

// unixPath is the path of a unix socket's address.
func (c *Config) unixPath() (string, bool) { return strings.CutPrefix(c.Address, "unix:") }

// Validate tells whether the configuration makes sense, without a look at files.
func (c *Config) Validate() error {
	if c.TLS.Cert == "" != (c.TLS.Key == "") {
		return errors.New("a certificate and its key belong together")
	}
	if path, ok := c.unixPath(); ok {
		if path == "" {
			return errors.New("what follows unix: must be a path")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("the address %.100q is neither host:port nor unix:/path", c.Address)
	}
	if c.Token != "" && c.TLS == (TLS{}) && !loopback(host) {
		return fmt.Errorf("the token would go to %s in the clear: that takes TLS", c.Address)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tls is nil for plain text.
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

// Config reads the files, for a server whose address has that host.
func (s TLS) Config(host string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(s.ServerName, host)}
	if s.CA != "" && s.CA != SystemCA {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", s.CA)
		}
	}
	if s.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}
