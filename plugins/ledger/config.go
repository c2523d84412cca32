package ledger

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Config configures a store on a Ledger cluster.
type Config struct {
	// Endpoints are the nodes: http://HOST:PORT, https://HOST:PORT behind a proxy, or the
	// absolute path of a unix socket. If one fails, the others are used.
	Endpoints []string `json:"endpoints"`
	DNS       DNS      `json:"dns"`  // alternative to endpoints: look the nodes up
	File      File     `json:"file"` // alternative to endpoints: read the nodes from a file
	// Organization is the slug of the vault's organization, as assigned by the cluster.
	// The start checks that the two belong together. Required.
	Organization uint64 `json:"organization"`
	Vault        uint64 `json:"vault"` // the vault's slug; required
	// Caller is the slug of the user whom the server records as the writer. By default none.
	Caller uint64 `json:"caller"`
	// ClientID begins the names under which the server knows this client's writes.
	ClientID string `json:"client_id"`
	// ReadConsistency is "linearizable", or "eventual": the state of any node.
	ReadConsistency string `json:"read_consistency"`
	// TTL allows writes with a TTL. Reads do not report the expiry, so a cache keeps only
	// what was written through it without one. With false, it keeps all that it reads: set
	// it if no client writes to the vault with a TTL.
	TTL bool `json:"ttl"`
	// MaxValue limits values, in bytes. The server stores an entity in a page of 16 KiB
	// without overflow pages, together with others: above about 12,000 bytes it refuses some,
	// depending on the rest of the page. Anything above 8 KiB may fail.
	MaxValue sdk.Size `json:"max_value"`
	// PageSize is the number of entities per request; it shrinks automatically if they do
	// not fit into a message.
	PageSize int `json:"page_size"`
	// MaxRangeResults bounds the items of a range that one page reads: the server has no
	// order, so a page reads all of them. More are a range_limit.
	MaxRangeResults int `json:"max_range_results"`
	// MaxRangeBytes bounds the bytes of items that a page holds at once.
	MaxRangeBytes sdk.Size `json:"max_range_bytes"`
	// MaxAnswer limits the answer of a node, in bytes. Larger pages of ranges are requested
	// again in smaller parts.
	MaxAnswer sdk.Size `json:"max_answer"`
	// ChunkedClear allows a range delete that is the only op of its write set to use
	// several writes if one is not enough. It is not atomic then: a failure after the
	// first is an outcome_unknown.
	ChunkedClear bool `json:"chunked_clear"`

	// ElectionWait is how long all nodes may lack an acknowledged write before it counts
	// as lost: at least as long as the cluster takes to elect a leader.
	ElectionWait Duration `json:"election_wait"`
	// OnLoss decides about reads after the cluster has lost acknowledged writes. "fail"
	// refuses them until a node has the writes again, or the store is opened again;
	// "continue" reads what the cluster has. Either is logged and degrades health.
	OnLoss string `json:"on_loss"`

	Timeouts       Timeouts `json:"timeouts"`        // time limits of calls
	ConnectTimeout Duration `json:"connect_timeout"` // to reach a node, and to look nodes up
	Retry          Retry    `json:"retry"`           // repeated attempts
	TLS            TLS      `json:"tls"`             // for https endpoints
	// Compression compresses messages with gzip.
	Compression bool `json:"compression"`
	// PreferredRegion is the cluster's name for the region of the vault. The client then
	// asks any node for the leader of the region, who leads the vault too. By default it
	// finds the leader by the answers to writes.
	PreferredRegion string `json:"preferred_region"`
	HTTP2           HTTP2  `json:"http2"` // flow control
	// ConnectionPoolSize is the number of connections to each node, used in turn.
	ConnectionPoolSize int `json:"connection_pool_size"`
}

// HTTP2 bounds the bytes in flight that the other side has not read yet.
type HTTP2 struct {
	StreamWindow     sdk.Size `json:"stream_window"`     // of one call
	ConnectionWindow sdk.Size `json:"connection_window"` // of all calls over a connection
}

// Timeouts bounds calls, including repeated attempts.
type Timeouts struct {
	Read  Duration `json:"read"`  // a get, and health checks of nodes
	Write Duration `json:"write"` // an apply
	List  Duration `json:"list"`  // a page of a range, and finding the keys that a range delete removes
	// Attempt bounds one attempt of a call. By default a third of the call's time, so
	// that a node that hangs leaves time for others.
	Attempt Duration `json:"attempt"`
}

// Retry configures repeated attempts.
type Retry struct {
	Attempts   int      `json:"attempts"`   // attempts in all, including the first
	Initial    Duration `json:"initial"`    // the wait before the second
	Max        Duration `json:"max"`        // the longest wait
	Multiplier float64  `json:"multiplier"` // factor from one wait to the next
	Jitter     float64  `json:"jitter"`     // fraction by which a wait is randomly longer or shorter, from 0 to 1
}

// TLS has the files for https endpoints, which are TLS proxies in front of servers. Paths
// are absolute: the plugin has a folder of its own.
type TLS struct {
	CA         string `json:"ca"`          // certificate authority of the proxy, PEM or DER; by default those the system trusts
	Cert       string `json:"cert"`        // the client's certificate, PEM or DER
	Key        string `json:"key"`         // its private key, PEM or DER
	ServerName string `json:"server_name"` // name in the proxy's certificate; by default the host of the endpoint
}

// Duration holds a time with a unit, such as "5s".
type Duration string

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		ClientID: "plinth", ReadConsistency: Linearizable, TTL: true, MaxValue: 8 << 10, PageSize: 10_000, MaxRangeResults: 100_000, MaxRangeBytes: 32 << 20, MaxAnswer: 64 << 20,
		ElectionWait: "30s", OnLoss: FailOnLoss,
		Timeouts: Timeouts{Read: "5s", Write: "10s", List: "30s"}, ConnectTimeout: "5s",
		DNS: DNS{Port: 50051, Refresh: "30s"}, File: File{Refresh: "60s"},
		Retry: Retry{Attempts: 5, Initial: "100ms", Max: "10s", Multiplier: 2, Jitter: 0.25},
		HTTP2: HTTP2{StreamWindow: 2 << 20, ConnectionWindow: 8 << 20}, ConnectionPoolSize: 1,
	}
}

// Info returns what a backend with env's configuration can do, without calling a cluster.
func Info(_ context.Context, env sdk.Env) (storage.Info, error) {
	c := DefaultConfig()
	if err := sdk.DecodeConfig(env.Config, &c); err != nil {
		return storage.Info{}, err
	}
	if err := c.Validate(); err != nil {
		return storage.Info{}, err
	}
	return c.Info(), nil
}

// Info returns what a backend with this configuration can do.
func (c *Config) Info() storage.Info {
	info := storage.Info{
		Name: "ledger", Version: Version, Incarnation: incarnation(c.Organization, c.Vault),
		Caps: storage.CapAtomic | storage.CapReverse | storage.CapDurable,
		Limits: storage.Limits{Key: maxKey, Value: int(c.MaxValue), Ops: maxOps, WriteBytes: maxWrite, GetKeys: maxKeys,
			TTLPrecision: ttlStep},
	}
	if c.TTL {
		info.Caps |= storage.CapTTL
	}
	if c.ReadConsistency == Linearizable { // else a read after a notice may still be of before
		info.Caps |= storage.CapChangeNotice
	}
	return info
}

// The values of Config.ReadConsistency.
const (
	Linearizable = "linearizable"
	Eventual     = "eventual"
)

// The values of Config.OnLoss.
const (
	FailOnLoss     = "fail"
	ContinueOnLoss = "continue"
)

// region matches a region's name.
var region = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// maxClientID leaves room for what is added to it, of 256 characters.
const maxClientID = 200

// times holds the durations of a configuration.
type times struct {
	read, write, list, connect time.Duration
	election                   time.Duration
	attempt                    time.Duration // by default a share of the call's
	dns, file                  time.Duration
	retryFirst, retryMost      time.Duration
}

// Validate checks the values, without reading files or calling a server.
func (c *Config) Validate() error {
	_, err := c.times()
	if err != nil {
		return err
	}
	if err := c.checkSource(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, e := range c.Endpoints {
		path := fmt.Sprintf("endpoints[%d]", i)
		a, err := parseEndpoint(e)
		if err != nil {
			return sdk.ConfigErrorf(path, "%v", err)
		}
		if seen[a.name] {
			return sdk.ConfigErrorf(path, "the endpoint is named twice")
		}
		seen[a.name] = true
	}
	for _, slug := range []struct {
		path string
		is   uint64
	}{{"organization", c.Organization}, {"vault", c.Vault}} {
		if slug.is == 0 {
			return sdk.ConfigErrorf(slug.path, "%s is required, and not 0: it is the slug that the cluster gave out", slug.path)
		}
	}
	for _, n := range []struct {
		path  string
		is    int64
		least int64
		most  int64
	}{
		{"max_value", int64(c.MaxValue), 1, maxValue},
		{"page_size", int64(c.PageSize), 1, 1 << 31}, {"max_range_results", int64(c.MaxRangeResults), 1, 1 << 40},
		{"max_range_bytes", int64(c.MaxRangeBytes), 1 << 10, 1 << 40},
		{"max_answer", int64(c.MaxAnswer), 8 << 20, 1<<31 - 1}, {"retry.attempts", int64(c.Retry.Attempts), 1, 1000},
		{"http2.stream_window", int64(c.HTTP2.StreamWindow), 1<<16 - 1, 1<<31 - 1},
		{"http2.connection_window", int64(c.HTTP2.ConnectionWindow), int64(c.HTTP2.StreamWindow), 1<<31 - 1},
		{"connection_pool_size", int64(c.ConnectionPoolSize), 1, 100},
	} {
		if n.is < n.least || n.is > n.most {
			return sdk.ConfigErrorf(n.path, "%s is %d, it must be from %d to %d", n.path, n.is, n.least, n.most)
		}
	}
	switch {
	case !(c.Retry.Multiplier >= 1 && c.Retry.Multiplier <= 100):
		return sdk.ConfigErrorf("retry.multiplier", "retry.multiplier is %g, it must be from 1 to 100", c.Retry.Multiplier)
	case !(c.Retry.Jitter >= 0 && c.Retry.Jitter <= 1):
		return sdk.ConfigErrorf("retry.jitter", "retry.jitter is %g, it must be from 0 to 1", c.Retry.Jitter)
	case c.PreferredRegion != "" && !region.MatchString(c.PreferredRegion):
		return sdk.ConfigErrorf("preferred_region", "preferred_region is no name of a region: lower-case letters, digits and hyphens, such as us-east-va")
	case c.ClientID == "":
		return sdk.ConfigErrorf("client_id", "client_id is empty")
	case len(c.ClientID) > maxClientID:
		return sdk.ConfigErrorf("client_id", "client_id has %d bytes, it may have %d", len(c.ClientID), maxClientID)
	case c.ReadConsistency != Linearizable && c.ReadConsistency != Eventual:
		return sdk.ConfigErrorf("read_consistency", "read_consistency is neither %s nor %s", Linearizable, Eventual)
	case c.OnLoss != FailOnLoss && c.OnLoss != ContinueOnLoss:
		return sdk.ConfigErrorf("on_loss", "on_loss is neither %s nor %s", FailOnLoss, ContinueOnLoss)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return sdk.ConfigErrorf("tls", "a certificate and its key belong together")
	case c.TLS != (TLS{}) && !c.secure():
		return sdk.ConfigErrorf("tls", "tls is set, and no endpoint begins with https://")
	}
	return nil
}

func (c *Config) times() (t times, err error) {
	for _, d := range []struct {
		path string
		text Duration
		into *time.Duration
	}{
		{"timeouts.read", c.Timeouts.Read, &t.read}, {"timeouts.write", c.Timeouts.Write, &t.write}, {"timeouts.list", c.Timeouts.List, &t.list},
		{"election_wait", c.ElectionWait, &t.election},
		{"timeouts.attempt", c.Timeouts.Attempt, &t.attempt}, {"connect_timeout", c.ConnectTimeout, &t.connect}, {"retry.initial", c.Retry.Initial, &t.retryFirst}, {"retry.max", c.Retry.Max, &t.retryMost},
		{"dns.refresh", c.DNS.Refresh, &t.dns}, {"file.refresh", c.File.Refresh, &t.file},
	} {
		if d.text == "" && d.into == &t.attempt {
			continue
		}
		v, err := time.ParseDuration(string(d.text))
		if err != nil || v > 0 && new(sdk.Duration).UnmarshalJSON([]byte(strconv.Quote(string(d.text)))) != nil {
			return t, sdk.ConfigErrorf(d.path, "%s is not a duration such as 5s or 250ms", d.path)
		}
		if v <= 0 || v > 24*time.Hour {
			return t, sdk.ConfigErrorf(d.path, "%s is %s, it must be more than 0 and at most 24h", d.path, v)
		}
		*d.into = v
	}
	if t.write < 2*leastWrite {
		return t, sdk.ConfigErrorf("timeouts.write", "timeouts.write is %s: the server refuses writes with less than %s left, it must be at least %s", t.write, leastWrite, 2*leastWrite)
	}
	if t.attempt > 0 && t.attempt < leastWrite {
		return t, sdk.ConfigErrorf("timeouts.attempt", "timeouts.attempt is %s: the server refuses writes with less than %s left", t.attempt, leastWrite)
	}
	if t.retryMost < t.retryFirst {
		return t, sdk.ConfigErrorf("retry.max", "retry.max is %s, less than retry.initial", t.retryMost)
	}
	return t, nil
}

// Open opens a backend with env's configuration, and checks that the vault exists and belongs
// to the organization. It is an [sdk.Opener].
func Open(ctx context.Context, env sdk.Env) (storage.Backend, error) {
	return Opener(nil)(ctx, env)
}

// Opener returns [Open] with requests to the cluster as spans of tracer, for calls whose
// parent span is recorded in another process. If the parent is recorded in this process, the
// spans belong to its provider. tracer is optional.
func Opener(tracer trace.TracerProvider) sdk.Opener {
	return func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		config := DefaultConfig()
		if err := sdk.DecodeConfig(env.Config, &config); err != nil {
			return nil, err
		}
		b, err := newBackend(ctx, config, env, tracer)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
}
