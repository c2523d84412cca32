// Package door is what every listener of a host has in common: where it listens,
// who may come in, and which addresses are refused because others could reach
// them unasked or overhear them.
//
// What belongs here holds for every protocol. What a protocol does with those who
// are in is its server's.
package door

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

// Door is a listener's address and who may come in. It does not change once it
// is used.
type Door struct {
	Address string        // "host:port", or "unix:/path"
	Token   *secret.Value // what callers must send as a bearer token; empty: nothing
	// Cert and Key are PEM files; with them the listener speaks TLS alone.
	// ClientCA, if set, is who must have signed a caller's certificate.
	Cert, Key, ClientCA string
}

// UnixPath is the path of a unix socket's address.
func (d Door) UnixPath() (string, bool) { return strings.CutPrefix(d.Address, "unix:") }

// Check refuses an address that others can reach without saying who they are and
// without being overheard.
func (d Door) Check() error {
	if (d.Cert == "") != (d.Key == "") {
		return errors.New("TLS requires both a certificate and its key")
	}
	if d.ClientCA != "" && d.Cert == "" {
		return errors.New("client certificates require TLS: set a certificate and its key")
	}
	if _, ok := d.UnixPath(); ok {
		return nil
	}
	host, _, err := net.SplitHostPort(d.Address)
	if err != nil {
		return fmt.Errorf("the address %q is neither host:port nor unix:/path", d.Address)
	}
	if Loopback(host) || d.Cert != "" && (d.Token.Len() > 0 || d.ClientCA != "") {
		return nil
	}
	return fmt.Errorf("the address %s is beyond loopback, which requires TLS (cert, key) and a token or a client_ca", d.Address)
}

// Loopback tells whether a host name or address is this machine's own.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Opens tells whether the value of an Authorization header lets its sender in.
func (d Door) Opens(authorization string) bool {
	if d.Token.Len() == 0 {
		return true
	}
	scheme, token, ok := strings.Cut(authorization, " ")
	token = strings.TrimLeft(token, " ")
	return ok && strings.EqualFold(scheme, "Bearer") && d.Token.Equal([]byte(token))
}

// Adopt is the address of a listener that another has opened, or why it is not to be served.
func (d Door) Adopt(l net.Listener, s Scheme) (address string, err error) {
	if _, unix := l.Addr().(*net.UnixAddr); !unix {
		d.Address = l.Addr().String()
		if err := d.Check(); err != nil {
			return "", err
		}
	}
	return s.Of(l.Addr(), d.Cert != ""), nil
}

// Scheme is how a protocol's addresses begin.
type Scheme struct{ Plain, TLS, Unix string }

// Of is an address as callers write it.
func (s Scheme) Of(a net.Addr, tls bool) string {
	if unix, is := a.(*net.UnixAddr); is {
		return s.Unix + unix.Name
	}
	if tls {
		return s.TLS + a.String()
	}
	return s.Plain + a.String()
}

// Listen opens the address, and returns it as callers write it. A unix socket is for this
// user alone; one that a server left behind is replaced, one that is being served is not.
func (d Door) Listen(s Scheme) (l net.Listener, address string, err error) {
	path, unix := d.UnixPath()
	switch {
	case d.Address == "":
		return nil, "", errors.New("no address to listen on")
	case unix:
		l, err = listenUnix(path)
		return l, s.Unix + path, err
	}
	if l, err = net.Listen("tcp", d.Address); err != nil {
		return nil, "", err
	}
	return l, s.Of(l.Addr(), d.Cert != ""), nil
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
