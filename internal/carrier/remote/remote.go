// Package remote is the carrier that reaches a store of another host, over gRPC.
package remote

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Config configures a plugin that is another host, which serves stores over gRPC.
type Config struct {
	Remote         string        `yaml:"remote"`              // "host:port" or "unix:/path"; the backend's config selects the store
	Token          *secret.Value `yaml:"token" secret:"true"` // bearer token; optional
	TLS            TLS           `yaml:"tls"`                 // certificates of the connection
	ConnectTimeout time.Duration `yaml:"connect_timeout"`     // time to connect
	Attempts       int           `yaml:"attempts"`            // attempts of a call, including the first
}

// TLS names the files for the connection to a remote host. Without them it uses plain
// text. Relative paths start from the folder of the configuration file.
type TLS struct {
	CA         string `yaml:"ca"`          // certificate authority of the host, PEM; "system": those the system trusts, which is also the default if another field is set
	Cert       string `yaml:"cert"`        // this host's certificate chain, PEM
	Key        string `yaml:"key"`         // its private key, PEM
	ServerName string `yaml:"server_name"` // name in the host's certificate; by default the host in the address
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	c := client.Config{}.WithDefaults()
	return Config{ConnectTimeout: c.ConnectTimeout, Attempts: c.Attempts}
}

// Backend selects a store of another host.
type Backend struct {
	Store string `yaml:"store"` // its name there; optional if it is the only one
}

// Validate checks that the files belong together.
func (t *TLS) Validate() error {
	switch {
	case t.Cert == "" && t.Key != "":
		return carrier.Fieldf("cert", "is missing: key needs it")
	case t.Cert != "" && t.Key == "":
		return carrier.Fieldf("key", "is missing: cert needs it")
	}
	return nil
}

// Validate checks what can be checked without the server.
func (c *Config) Validate() error {
	var errs []error
	if err := validAddress(c.Remote); err != nil {
		errs = append(errs, &carrier.FieldError{Path: "remote", Err: err})
	}
	if strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, carrier.Fieldf("token", "contains a character that is invalid in a header: use visible ASCII"))
	}
	if c.ConnectTimeout < 0 {
		errs = append(errs, carrier.Fieldf("connect_timeout", "must not be negative"))
	}
	if c.Attempts < 0 {
		errs = append(errs, carrier.Fieldf("attempts", "must not be negative"))
	}
	return errors.Join(errs...)
}

func validAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
			return errors.New("the address after unix: must be an absolute path")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return errors.New("must be host:port or unix:/path of a host that serves gRPC")
	}
	return nil
}

// Factory makes the carriers of other hosts.
func Factory() carrier.Factory {
	return carrier.NewFactory("remote", false, "remote", DefaultConfig(), func(_ context.Context, p carrier.Plugin, c Config) (carrier.Carrier, error) {
		r := &remote{settings: p.Settings, config: c.client(p.Path)}
		if err := r.config.Validate(); err != nil {
			return nil, &carrier.FieldError{Err: err}
		}
		return r, nil
	})
}

// client returns the configuration of the connection, but for the store's name.
func (c *Config) client(path func(string) string) client.Config {
	file := func(name string) string {
		if name == "" || name == client.SystemCA {
			return name
		}
		return path(name)
	}
	return client.Config{
		Address: c.Remote, Token: c.Token, ConnectTimeout: c.ConnectTimeout, Attempts: c.Attempts,
		TLS: client.TLS{CA: file(c.TLS.CA), Cert: file(c.TLS.Cert), Key: file(c.TLS.Key), ServerName: c.TLS.ServerName},
	}
}

// remote is another host. Each backend has a connection of its own.
type remote struct {
	config   client.Config
	settings carrier.Settings
}

func (*remote) Kind() string                { return carrier.Remote }
func (*remote) Close(context.Context) error { return nil }

// Shared returns true: others may always write to a remote store.
func (*remote) Shared() bool { return true }

func (r *remote) Open(ctx context.Context, store string, config carrier.Config) (carrier.Backend, error) {
	var own Backend
	if err := config.Decode(&own); err != nil {
		return nil, err
	}
	c := r.config
	c.Store = own.Store
	b, err := client.Dial(ctx, c, client.Settings{Clock: r.settings.Clock, Log: r.settings.Log.With("store", store),
		Tracer: r.settings.Tracer, Meter: r.settings.Meter})
	if err != nil {
		return nil, refused(err)
	}
	return b, nil
}

// refused gives the error of a connection its place: the store's name, which has one
// already, the token, or the address.
func refused(err error) error {
	switch e := storage.AsError(err); {
	case e.Code == storage.InvalidArgument && e.ConfigPath != "":
		return err
	case errors.Is(err, storage.ErrUnauthenticated) || errors.Is(err, storage.ErrPermissionDenied):
		return &carrier.FieldError{Path: "token", Err: err}
	case e.Code == storage.Unavailable:
		return &carrier.FieldError{Path: "remote", Err: err}
	}
	return &carrier.FieldError{Err: err}
}
