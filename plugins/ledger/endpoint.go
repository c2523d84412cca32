package ledger

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret/keypair"
)

// address is where a node is.
type address struct {
	name    string // as it was given, for messages
	network string // "tcp", "unix"
	dial    string // host:port, or a path
	host    string // for TLS and as the authority
	secure  bool
}

// parseEndpoint reads an endpoint. What is wrong is said without repeating it: it
// might hold a password.
func parseEndpoint(s string) (address, error) {
	if strings.ContainsAny(s, " \t\r\n") {
		return address{}, errors.New("the endpoint holds white space")
	}
	if strings.HasPrefix(s, "/") {
		return address{name: s, network: "unix", dial: s, host: "localhost"}, nil
	}
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return address{}, errors.New("the endpoint begins neither with http:// nor https:// nor, as the path of a unix socket, with /")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return address{}, errors.New("the endpoint is not a URL")
	case u.User != nil:
		return address{}, errors.New("the endpoint holds a user or a password, which Ledger has no use for")
	case u.Hostname() == "":
		return address{}, errors.New("the endpoint names no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return address{}, errors.New("the endpoint has something after its port")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return address{name: u.Scheme + "://" + u.Host, network: "tcp", dial: net.JoinHostPort(u.Hostname(), port), host: u.Host, secure: u.Scheme == "https"}, nil
}

// transport returns how connections to secure endpoints are made; nil where none is.
func (c *Config) transport() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		ca, err := asPEM(c.TLS.CA, "CERTIFICATE")
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.ca", "%v", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(ca) {
			return nil, sdk.ConfigErrorf("tls.ca", "the file holds no certificate")
		}
	}
	if c.TLS.Cert != "" {
		cert, err := asPEM(c.TLS.Cert, "CERTIFICATE")
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.cert", "%v", err)
		}
		key, err := asPEM(c.TLS.Key, "PRIVATE KEY")
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.key", "%v", err)
		}
		pair, err := keypair.New(cert, key)
		if err != nil { // which might quote what the files hold
			return nil, sdk.ConfigErrorf("tls.cert", "the certificate and the key are no pair")
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// asPEM reads a file of PEM, or of DER, which is given a frame of that kind then.
func asPEM(file, kind string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil || len(raw) == 0 || raw[0] != derSequence {
		return raw, err
	}
	defer clear(raw)
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), nil
}

// derSequence is the first byte of all that is DER here, and of no text that is PEM.
const derSequence = 0x30

func (a address) credentials(t *tls.Config) credentials.TransportCredentials {
	if !a.secure {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(t)
}
