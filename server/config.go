package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Config is how a server listens and what it allows. Zero fields are the defaults.
type Config struct {
	Address string   // "host:port", or "unix:/path"
	Hosts   []string // names that a request's Host may have, beside the address's own and loopback's
	Token   string   // what callers must send as a bearer token; empty: nothing
	// Cert and Key are PEM files; with them the listener speaks TLS alone.
	// ClientCA, if set, is who must have signed a caller's certificate.
	Cert, Key, ClientCA string

	HeaderBytes     int           // of a request; 0: 16 KiB
	HeaderTimeout   time.Duration // to send the header; 0: 5 s
	BodyTimeout     time.Duration // to send the body; 0: 1 min
	WriteTimeout    time.Duration // for a caller to take a part of the answer; 0: 30 s
	IdleTimeout     time.Duration // between requests; 0: 2 min
	BodyBytes       int64         // of a request; 0: as the store's limits ask
	MaxOps          int           // ops and checks of an apply; 0: 10,000
	MaxKeys         int           // keys of a get; 0: 1,000
	MaxConcurrent   int           // requests at once; 0: 1,024
	ShutdownTimeout time.Duration // for requests to finish; 0: 15 s
}

// Settings are what code hands to a server beside its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name in the path
	Log    *slog.Logger              // nil: slog.Default()
}

func (c *Config) defaults() {
	for _, d := range []struct {
		have *time.Duration
		want time.Duration
	}{{&c.HeaderTimeout, 5 * time.Second}, {&c.BodyTimeout, time.Minute}, {&c.WriteTimeout, 30 * time.Second},
		{&c.IdleTimeout, 2 * time.Minute}, {&c.ShutdownTimeout, 15 * time.Second}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
	for _, d := range []struct {
		have *int
		want int
	}{{&c.HeaderBytes, 16 << 10}, {&c.MaxOps, 10_000}, {&c.MaxKeys, 1_000}, {&c.MaxConcurrent, 1_024}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
}

// unixPath is the path of a unix socket's address.
func (c *Config) unixPath() (string, bool) { return strings.CutPrefix(c.Address, "unix:") }

// safe refuses an address that others can reach without saying who they are and
// without being overheard.
func (c *Config) safe() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("TLS needs both a certificate and its key")
	}
	if c.ClientCA != "" && c.Cert == "" {
		return errors.New("client certificates need TLS: a certificate and its key")
	}
	if _, ok := c.unixPath(); ok {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("the address %q is neither host:port nor unix:/path", c.Address)
	}
	if loopback(host) || c.Cert != "" && (c.Token != "" || c.ClientCA != "") {
		return nil
	}
	return fmt.Errorf("the address %s is beyond loopback: it needs TLS (cert, key) and a token or a client_ca", c.Address)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// tls is nil for plain text.
func (c *Config) tls() (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return nil, err
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.ClientCA)
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, nil
}
