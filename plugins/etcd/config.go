package etcd

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
)

// Config configures a store on etcd.
type Config struct {
	// Endpoints are the members: http://HOST:PORT, or https://HOST:PORT with TLS. If one
	// fails, the others are used. Required.
	Endpoints []string `json:"endpoints"`
	// Prefix begins the store's keys in the cluster, such as "plinth/sessions/". It
	// identifies the store: clients with the same prefix share its data. Required; must
	// not contain ":".
	Prefix string `json:"prefix"`
	// Username is the name of a user of the cluster, if it has authentication enabled. The user needs
	// readwrite on all keys with the prefix.
	Username string `json:"username"`
	// Password should be a reference: ${env:NAME} or ${file:PATH}.
	Password *secret.Value `json:"password" secret:"true"`
	TLS      TLS           `json:"tls"` // for https endpoints

	Timeouts Timeouts `json:"timeouts"` // time limits of calls
	// Keepalive limits how long a connection may be silent while calls wait on it, before it
	// is pinged; the member must then answer within 5s.
	Keepalive sdk.Duration `json:"keepalive"`

	// MaxOps is the cluster's --max-txn-ops. The store uses two of them itself.
	MaxOps int `json:"max_ops"`
	// MaxRequest is the cluster's --max-request-bytes.
	MaxRequest sdk.Size `json:"max_request"`
	// MaxRangeItems bounds the items in the ranges of a write set's range checks and
	// range deletes, together: the cluster does nothing else while it reads them.
	MaxRangeItems int `json:"max_range_items"`

	// IDWindow is how long the ID of a write set is remembered.
	IDWindow sdk.Duration `json:"id_window"`
	// Grace is how long an expired item stays in the cluster, at least. It must exceed
	// the difference between the clocks of the store's hosts. A quarter of the item's TTL
	// is added.
	Grace sdk.Duration `json:"grace"`
}

// Timeouts bounds calls, including repeated attempts.
type Timeouts struct {
	Connect sdk.Duration `json:"connect"` // to reach a member when the store is opened
	Read    sdk.Duration `json:"read"`    // a get, or a page of a scan
	Write   sdk.Duration `json:"write"`   // an apply
	// Attempt bounds one attempt of a call that can be repeated on another member: a
	// read, or a write set with an ID.
	Attempt sdk.Duration `json:"attempt"`
}

// TLS has the files for https endpoints. Paths are absolute.
type TLS struct {
	CA         string `json:"ca"`          // certificate authority of the members, PEM; by default those the system trusts
	Cert       string `json:"cert"`        // the client's certificate, PEM
	Key        string `json:"key"`         // its private key, PEM
	ServerName string `json:"server_name"` // name in the members' certificates; by default the host of the endpoint
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Timeouts: Timeouts{Connect: sdk.Duration(5 * time.Second), Read: sdk.Duration(5 * time.Second), Write: sdk.Duration(10 * time.Second),
			Attempt: sdk.Duration(2 * time.Second)},
		Keepalive: sdk.Duration(10 * time.Second),
		MaxOps:    128, MaxRequest: 3 << 19, MaxRangeItems: 100_000,
		IDWindow: sdk.Duration(5 * time.Minute), Grace: sdk.Duration(time.Minute),
	}
}

// mostPrefix limits the prefix, in bytes.
const mostPrefix = 512

// Validate checks the values, without a look at files or at the cluster.
func (c *Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return sdk.ConfigErrorf("endpoints", "endpoints is required: the members' addresses, such as [http://127.0.0.1:2379]")
	}
	seen := map[string]bool{}
	for i, e := range c.Endpoints {
		path := fmt.Sprintf("endpoints[%d]", i)
		if err := checkEndpoint(e); err != nil {
			return sdk.ConfigErrorf(path, "%v", err)
		}
		if seen[e] {
			return sdk.ConfigErrorf(path, "duplicate endpoint %q", e)
		}
		if seen[e] = true; secure(e) != c.secure() {
			return sdk.ConfigErrorf(path, "endpoints must be all http or all https")
		}
	}
	switch {
	case c.Prefix == "":
		return sdk.ConfigErrorf("prefix", "prefix is required: what the store's keys in the cluster begin with, such as plinth/sessions/")
	case len(c.Prefix) > mostPrefix:
		return sdk.ConfigErrorf("prefix", "prefix has %d bytes, the limit is %d", len(c.Prefix), mostPrefix)
	case strings.ContainsAny(c.Prefix, ":\x00") || !utf8.ValidString(c.Prefix):
		return sdk.ConfigErrorf("prefix", "prefix must be text without \":\", which ends the prefix in the cluster's keys")
	case (c.Username == "") != (c.Password.Len() == 0):
		return sdk.ConfigErrorf("password", "username and password must be set together")
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return sdk.ConfigErrorf("tls", "tls.cert and tls.key must be set together")
	case c.TLS != (TLS{}) && !c.secure():
		return sdk.ConfigErrorf("tls", "tls is set, and the endpoints are http: use https")
	}
	return c.checkNumbers()
}

func (c *Config) checkNumbers() error {
	const least, most = int64(100 * time.Millisecond), int64(time.Hour)
	for _, f := range []struct {
		name      string
		is        int64
		low, high int64
	}{
		{"timeouts.connect", int64(c.Timeouts.Connect), least, most}, {"timeouts.read", int64(c.Timeouts.Read), least, most},
		{"timeouts.write", int64(c.Timeouts.Write), least, most}, {"timeouts.attempt", int64(c.Timeouts.Attempt), least, most},
		{"keepalive", int64(c.Keepalive), int64(10 * time.Second), most},
		{"id_window", int64(c.IDWindow), int64(time.Second), 24 * most}, {"grace", int64(c.Grace), int64(10 * time.Second), 24 * most},
	} {
		if f.is < f.low || f.is > f.high {
			return sdk.ConfigErrorf(f.name, "%s is %v, it must be between %v and %v", f.name, time.Duration(f.is), time.Duration(f.low), time.Duration(f.high))
		}
	}
	for _, f := range []struct {
		name      string
		is        int64
		low, high int64
	}{
		{"max_ops", int64(c.MaxOps), 16, 10_000}, {"max_request", int64(c.MaxRequest), 256 << 10, 64 << 20},
		{"max_range_items", int64(c.MaxRangeItems), 1, 100_000_000},
	} {
		if f.is < f.low || f.is > f.high {
			return sdk.ConfigErrorf(f.name, "%s is %d, it must be between %d and %d", f.name, f.is, f.low, f.high)
		}
	}
	return nil
}

func secure(endpoint string) bool { return strings.HasPrefix(endpoint, "https://") }

// secure reports whether the members are reached over TLS.
func (c *Config) secure() bool { return secure(c.Endpoints[0]) }

func checkEndpoint(e string) error {
	u, err := url.Parse(e)
	if err != nil {
		return fmt.Errorf("the endpoint is not a URL such as http://127.0.0.1:2379")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("endpoint %q must begin with http:// or https://", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("endpoint %q: a user belongs into username and password", u.Redacted())
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("endpoint %q must be a host and a port alone", u.Redacted())
	}
	if host, port, err := net.SplitHostPort(u.Host); err != nil || host == "" || port == "" {
		return fmt.Errorf("endpoint %q must have a host and a port, such as http://127.0.0.1:2379", e)
	}
	return nil
}
