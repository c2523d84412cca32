package config

import (
	"path/filepath"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
	"github.com/plinthkv/plinth/secret"
)

// Config holds the whole configuration, decoded and valid. It is immutable after Load.
type Config struct {
	Plugins   map[string]*Node `yaml:"plugins"`   // by name; without the built-in ones, unless they are configured
	Stores    map[string]Store `yaml:"stores"`    // by name; at least one
	Server    Server           `yaml:"server"`    // serves the stores over the network
	Telemetry *Node            `yaml:"telemetry"` // OpenTelemetry's own configuration
	Log       Log              `yaml:"log"`       // what the program logs
	Reload    Reload           `yaml:"reload"`    // limits of a change of the configuration at run time
	// AllowFaults permits pipelines with stages that make calls fail on purpose.
	AllowFaults bool `yaml:"allow_faults"`

	file     string // empty if none
	dir      string // of the file
	root     *strictyaml.Value
	problems Errors
}

// Store configures a pipeline over a backend.
type Store struct {
	Backend  Backend  `yaml:"backend"`  // below the pipeline
	Require  []string `yaml:"require"`  // capabilities that the backend must have
	Start    string   `yaml:"start"`    // "required" (the default): the host does not start without the store; "optional": it does, and retries
	Pipeline []Stage  `yaml:"pipeline"` // outermost first; may be empty
}

// Backend selects and configures the plugin of a store, or another store whose backend it
// shares.
type Backend struct {
	Plugin string `yaml:"plugin"` // a plugin from "plugins", or a built-in one
	Store  string `yaml:"store"`  // instead of "plugin": the store whose backend to share
	Config *Node  `yaml:"config"` // the plugin's own configuration
	// OnSwap decides about items that the backend keeps in memory only when a reload
	// replaces it: "discard" or "transfer". By default the reload is refused.
	OnSwap string `yaml:"on_swap"`
}

// Log configures the log of plinth serve. A program that embeds a host ignores it.
type Log struct {
	Level string `yaml:"level"` // lowest level: debug, info, warn or error
}

// Reload limits a change of the configuration at run time.
type Reload struct {
	Hold     Duration `yaml:"hold"`     // how long calls of a store wait while its backend is replaced; a longer reload is refused
	MaxHeld  int      `yaml:"max_held"` // maximum number of waiting calls; more are refused
	Transfer Bytes    `yaml:"transfer"` // maximum size of keys and values that on_swap: transfer copies
}

// Stage configures one wrapper of a pipeline. In the file it is a bare kind, or a kind with
// its settings as a mapping with one key. The setting "name" is the stage's name:
//
//   - instrument
//   - cache: { max_bytes: 64MiB }
//   - cache: { name: hot, max_bytes: 1MiB }
type Stage struct {
	Kind   string
	Name   string   // its name in the environment and in metrics, unique in its pipeline; by default the kind
	Config *Node    // settings that the wrapper decodes; never nil after Load, but possibly empty
	Pos    Position // of the stage
}

// Server configures how the stores are served over the network.
type Server struct {
	HTTP            string        `yaml:"http"`                      // "host:port", "unix:/path", or "" for none
	GRPC            string        `yaml:"grpc"`                      // as http
	Probes          string        `yaml:"probes"`                    // a separate listener for the probes and /metrics only, in the clear, without a token
	Hosts           []string      `yaml:"hosts"`                     // accepted Host names, in addition to those of the listener and of loopback
	Token           *secret.Value `yaml:"token" secret:"true"`       // bearer token that callers must send; optional, and not empty
	AdminToken      *secret.Value `yaml:"admin_token" secret:"true"` // bearer token for administration from anywhere; by default only from this machine
	TLS             TLS           `yaml:"tls"`                       // certificates; required beyond loopback
	Limits          ServerLimits  `yaml:"limits"`                    // limits for callers
	ShutdownDelay   Duration      `yaml:"shutdown_delay"`            // time between "not ready" and refusing new requests, so that load balancers notice
	ShutdownTimeout Duration      `yaml:"shutdown_timeout"`          // time for requests in flight to finish
}

// TLS names the files of a listener's certificate. Without them it serves plain text.
// Relative paths start from the folder of the file (once loaded: from the working
// directory).
type TLS struct {
	Cert     string `yaml:"cert"`      // certificate chain, PEM
	Key      string `yaml:"key"`       // its private key, PEM
	ClientCA string `yaml:"client_ca"` // CA that must have signed the certificates of callers, PEM; by default none is requested
}

// ServerLimits bounds the requests of callers.
type ServerLimits struct {
	Header        Bytes    `yaml:"header"`         // request line and header
	HeaderTimeout Duration `yaml:"header_timeout"` // time to send them
	IdleTimeout   Duration `yaml:"idle_timeout"`   // time between two requests of a connection
	Body          Bytes    `yaml:"body"`           // by default derived from the store's own limits
	Message       Bytes    `yaml:"message"`        // a gRPC message, in either direction
	Memory        Bytes    `yaml:"memory"`         // requests and answers in flight, over HTTP and gRPC together; a client may use at most a quarter
	MaxOps        int      `yaml:"max_ops"`        // checks and ops per apply
	MaxKeys       int      `yaml:"max_keys"`       // keys per get of several keys
	MaxConcurrent int      `yaml:"max_concurrent"` // requests at once
}

// Path returns a path of the configuration, which is relative to the folder of its file,
// as a path from the working directory.
func (c *Config) Path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}

// Root returns the whole configuration as a [Node], for errors about a place in it:
//
//	cfg.Root().Errorf("stores.default.require[0]", "…")
//
// It returns nil if the Config was not loaded but made by hand.
func (c *Config) Root() *Node { return strictyaml.NewNode(c.root, "") }
