package config

import (
	"path/filepath"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// Config is the whole configuration, decoded and valid. It does not change once
// it is loaded.
type Config struct {
	Plugins   map[string]*Node `yaml:"plugins"`   // by name; without the built-in ones, unless they are configured
	Stores    map[string]Store `yaml:"stores"`    // by name; at least one
	Server    Server           `yaml:"server"`    // how the stores are offered over the network
	Telemetry *Node            `yaml:"telemetry"` // OpenTelemetry's own configuration, as it is: package otel/setup reads it
	Log       Log              `yaml:"log"`       // what the program logs
	Reload    Reload           `yaml:"reload"`    // what a change of the configuration may take, while this runs
	// AllowFaults lets pipelines have stages that make calls fail on purpose.
	AllowFaults bool `yaml:"allow_faults"`

	file     string // empty: none
	dir      string // of the file
	root     *strictyaml.Value
	problems Errors
}

// Store is a pipeline over a backend.
type Store struct {
	Backend  Backend  `yaml:"backend"`  // what is at the bottom
	Require  []string `yaml:"require"`  // capabilities without which the store is refused
	Start    string   `yaml:"start"`    // "" or "required": the host does not start without it; "optional": it does, and tries on
	Pipeline []Stage  `yaml:"pipeline"` // outermost first; may be empty
}

// Backend is which plugin a store uses, and how that is configured; or which
// other store's backend it shares.
type Backend struct {
	Plugin string `yaml:"plugin"` // one of plugins, or a built-in one
	Store  string `yaml:"store"`  // instead of Plugin: the backend of that store, shared with it
	Config *Node  `yaml:"config"` // the plugin's own
	// OnSwap says what a reload does with items that the backend keeps in memory alone, where
	// another takes its place: "discard" or "transfer"; "": the reload is refused.
	OnSwap string `yaml:"on_swap"`
}

// Log is what the program logs: plinth serve, and not a program that embeds a host.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn or error, and what is worse
}

// Reload bounds what a change of the configuration may take, while this runs.
type Reload struct {
	Hold     Duration `yaml:"hold"`     // how long calls of a store wait while its backend is replaced; beyond it the reload is refused
	MaxHeld  int      `yaml:"max_held"` // calls that wait at once; those beyond are refused
	Transfer Bytes    `yaml:"transfer"` // keys and values that on_swap: transfer copies at most
}

// Stage is one wrapper of a pipeline. In the file it is a bare kind, or a kind
// with its settings as a mapping of one key, where "name" is not a setting but the
// stage's name:
//
//   - instrument
//   - cache: { max_bytes: 64MiB }
//   - cache: { name: hot, max_bytes: 1MiB }
type Stage struct {
	Kind   string
	Name   string   // what environment and metrics know it by; the kind where none is written; unique in its pipeline
	Config *Node    // what the wrapper decodes; never nil after Load, but maybe empty
	Pos    Position // of the stage
}

// Server is how the stores are offered over the network.
type Server struct {
	HTTP            string       `yaml:"http"`                      // "host:port", "unix:/path", or "" for none
	GRPC            string       `yaml:"grpc"`                      // as HTTP
	Probes          string       `yaml:"probes"`                    // as HTTP: a listener for the probes and /metrics alone, in the clear and without a token
	Hosts           []string     `yaml:"hosts"`                     // Host names answered to, besides the listener's own and loopback's
	Token           string       `yaml:"token" secret:"true"`       // bearer token that callers must send; absent: none. An empty one is an error
	AdminToken      string       `yaml:"admin_token" secret:"true"` // bearer token that lets callers administer the host from anywhere; absent: only from this machine
	TLS             TLS          `yaml:"tls"`                       // certificates; needed beyond loopback
	Limits          ServerLimits `yaml:"limits"`                    // what a caller may ask for
	ShutdownDelay   Duration     `yaml:"shutdown_delay"`            // between "not ready" and the end of new requests, for load balancers to notice
	ShutdownTimeout Duration     `yaml:"shutdown_timeout"`          // how long requests in flight may take to end
}

// TLS are the files of a listener's certificate. The zero value: plain text. Paths are
// from the folder of the file (once loaded: from the working directory).
type TLS struct {
	Cert     string `yaml:"cert"`      // certificate chain, PEM
	Key      string `yaml:"key"`       // its private key, PEM
	ClientCA string `yaml:"client_ca"` // what callers' certificates must be signed by, PEM; "" asks for none
}

// ServerLimits bound what a caller may ask for.
type ServerLimits struct {
	Header        Bytes    `yaml:"header"`         // request line and header
	HeaderTimeout Duration `yaml:"header_timeout"` // to send them
	IdleTimeout   Duration `yaml:"idle_timeout"`   // between two requests of a connection
	Body          Bytes    `yaml:"body"`           // 0: from the store's own limits
	Message       Bytes    `yaml:"message"`        // one of gRPC, either way
	Memory        Bytes    `yaml:"memory"`         // of requests and answers in flight, over HTTP and gRPC together; a client has a quarter at most
	MaxOps        int      `yaml:"max_ops"`        // per apply
	MaxKeys       int      `yaml:"max_keys"`       // per get of several keys
	MaxConcurrent int      `yaml:"max_concurrent"` // requests at a time
}

// Path is a path that the configuration has, which is from the folder of its file.
func (c *Config) Path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}

// Root is the whole configuration as a [Node], for errors about a place in it:
//
//	cfg.Root().Errorf("stores.default.require[0]", "…")
//
// It is nil where the Config was not loaded but made by hand.
func (c *Config) Root() *Node { return strictyaml.NewNode(c.root, "") }
