package gatekeeper

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/plinthkv/plinth/secret/keypair"
)

// lookEvery limits how often the files of certificates are looked at, by those who connect.
const lookEvery = time.Second

// TLS returns the TLS configuration of the listener, or nil for plain text. The protocols
// are those of ALPN. When its files change, new connections get the new certificate.
// Files that do not match, for example half-written ones, are logged and change nothing.
func (g Gatekeeper) TLS(log *slog.Logger, protocols ...string) (*tls.Config, error) {
	if g.Cert == "" {
		return nil, nil
	}
	c, err := newCertificates(g, log, protocols)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil }}, nil
}

func newCertificates(g Gatekeeper, log *slog.Logger, protocols []string) (c *certificates, err error) {
	c = &certificates{gatekeeper: g, log: log, protocols: protocols, every: lookEvery, looked: time.Now()}
	c.files = c.look()
	c.config, err = c.load()
	return c, err
}

// certificates holds what a listener speaks TLS with, as its files are now.
type certificates struct {
	gatekeeper Gatekeeper
	log        *slog.Logger
	protocols  []string
	every      time.Duration

	mu     sync.Mutex
	config *tls.Config
	files  [3]stamp // as they were when they were read last
	looked time.Time
}

// stamp reports whether a file is another one, or has other content.
type stamp struct {
	info os.FileInfo // nil if there is none
	size int64
	at   time.Time
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.size == o.size && s.at.Equal(o.at)
}

// look returns how the files are: behind links, which is how some systems swap them.
func (c *certificates) look() (files [3]stamp) {
	for i, name := range []string{c.gatekeeper.Cert, c.gatekeeper.Key, c.gatekeeper.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			files[i] = stamp{info, info.Size(), info.ModTime()}
		}
	}
	return files
}

// current returns the configuration of the files as they are, or the last one that was right.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < c.every {
		return c.config
	}
	c.looked = time.Now()
	files := c.look()
	changed := false
	for i := range files {
		changed = changed || !files[i].same(c.files[i])
	}
	if !changed {
		return c.config
	}
	c.files = files
	config, err := c.load()
	if err != nil {
		c.log.Error("the changed certificate is invalid: the previous one stays in use", "cert", c.gatekeeper.Cert, "error", err)
		return c.config
	}
	c.config = config
	c.log.Info("certificate changed", "cert", c.gatekeeper.Cert, "until", config.Certificates[0].Leaf.NotAfter)
	return config
}

func (c *certificates) load() (*tls.Config, error) {
	cert, err := keypair.Load(c.gatekeeper.Cert, c.gatekeeper.Key)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: c.protocols}
	if c.gatekeeper.ClientCA != "" {
		pem, err := os.ReadFile(c.gatekeeper.ClientCA)
		if err != nil {
			return nil, err
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s contains no certificate", c.gatekeeper.ClientCA)
		}
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, nil
}
