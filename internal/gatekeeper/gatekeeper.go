// Package gatekeeper has what every listener of a host has in common: where it listens,
// which callers it admits, and which addresses it refuses because others could reach
// them unasked or overhear them.
//
// What belongs here holds for every protocol. What a protocol does with admitted callers
// belongs to its server.
package gatekeeper

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/plinthkv/plinth/secret"
)

// Gatekeeper holds the address of a listener and authenticates its callers. It is immutable
// once used.
type Gatekeeper struct {
	Address string        // "host:port", or "unix:/path"
	Token   *secret.Value // bearer token that callers must send; optional
	// Cert and Key are PEM files; with them the listener serves TLS only. ClientCA, if
	// set, must have signed the certificates of callers.
	Cert, Key, ClientCA string
}

// UnixPath returns the path of a unix socket's address.
func (g Gatekeeper) UnixPath() (string, bool) { return strings.CutPrefix(g.Address, "unix:") }

// Check refuses an address that others can reach without authentication or encryption.
func (g Gatekeeper) Check() error {
	if (g.Cert == "") != (g.Key == "") {
		return errors.New("TLS requires both a certificate and its key")
	}
	if g.ClientCA != "" && g.Cert == "" {
		return errors.New("client certificates require TLS: set a certificate and its key")
	}
	if _, ok := g.UnixPath(); ok {
		return nil
	}
	host, _, err := net.SplitHostPort(g.Address)
	if err != nil {
		return fmt.Errorf("the address %q is neither host:port nor unix:/path", g.Address)
	}
	if Loopback(host) || g.Cert != "" && (g.Token.Len() > 0 || g.ClientCA != "") {
		return nil
	}
	return fmt.Errorf("the address %s is beyond loopback, which requires TLS (cert, key) and a token or a client_ca", g.Address)
}

// Loopback reports whether a host name or address is this machine's own.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Admits reports whether the value of an Authorization header has the token.
func (g Gatekeeper) Admits(authorization string) bool {
	if g.Token.Len() == 0 {
		return true
	}
	scheme, token, ok := strings.Cut(authorization, " ")
	token = strings.TrimLeft(token, " ")
	return ok && strings.EqualFold(scheme, "Bearer") && g.Token.Equal([]byte(token))
}

// Adopt returns the address of a listener that was opened elsewhere, or an error if it
// must not be served.
func (g Gatekeeper) Adopt(l net.Listener, s Scheme) (address string, err error) {
	if _, unix := l.Addr().(*net.UnixAddr); !unix {
		g.Address = l.Addr().String()
		if err := g.Check(); err != nil {
			return "", err
		}
	}
	return s.Of(l.Addr(), g.Cert != ""), nil
}

// Scheme holds the prefixes of a protocol's addresses.
type Scheme struct{ Plain, TLS, Unix string }

// Of returns an address in the form that callers use.
func (s Scheme) Of(a net.Addr, tls bool) string {
	if unix, is := a.(*net.UnixAddr); is {
		return s.Unix + unix.Name
	}
	if tls {
		return s.TLS + a.String()
	}
	return s.Plain + a.String()
}

// Listen opens the address, and returns it in the form that callers use. A unix socket is
// private to this user. A stale socket of an earlier server is replaced; a socket in use
// is an error.
func (g Gatekeeper) Listen(s Scheme) (l net.Listener, address string, err error) {
	path, unix := g.UnixPath()
	switch {
	case g.Address == "":
		return nil, "", errors.New("no address to listen on")
	case unix:
		l, err = listenUnix(path)
		return l, s.Unix + path, err
	}
	if l, err = net.Listen("tcp", g.Address); err != nil {
		return nil, "", err
	}
	return l, s.Of(l.Addr(), g.Cert != ""), nil
}

func listenUnix(path string) (net.Listener, error) {
	c, refused := net.Dial("unix", path)
	if refused == nil {
		c.Close()
		return nil, fmt.Errorf("listen unix %s: %w", path, syscall.EADDRINUSE)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen unix %s: the path exists and is not a socket", path)
		}
		if !errors.Is(refused, syscall.ECONNREFUSED) { // a server that is busy is one too
			return nil, fmt.Errorf("listen unix %s: %w: %w", path, syscall.EADDRINUSE, refused)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	defer private()()
	return net.Listen("unix", path)
}
