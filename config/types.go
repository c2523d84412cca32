package config

import "github.com/plinthkv/plinth/config/internal/strictyaml"

// Config is the whole configuration, decoded and valid. It does not change once
// it is loaded.
type Config struct {
	Plugins   map[string]Plugin `yaml:"plugins"`   // by name; without the built-in ones, unless they are configured
	Stores    map[string]Store  `yaml:"stores"`    // by name; at least one
	Server    Server            `yaml:"server"`    // how the stores are offered over the network
	Telemetry *Node             `yaml:"telemetry"` // OpenTelemetry's own configuration, as it is: package otel/setup reads it
	// AllowFaults lets pipelines have stages that make calls fail on purpose.
	AllowFaults bool `yaml:"allow_faults"`

	root     *strictyaml.Value
	problems Errors
}

// Plugin is a packaged backend, loaded at run time.
type Plugin struct {
	Wasm   string       `yaml:"wasm"`    // path of the module, from the folder of the file (once loaded: from the working directory)
	SHA256 string       `yaml:"sha256"`  // of the module or executable, 64 hex digits; empty: not checked
	Trust  string       `yaml:"trust"`   // "trusted": never interrupted, which needs SHA256 and excludes limits.call; "": interrupted where it runs too long
	OnLoss string       `yaml:"on_loss"` // "", "fail" or "restart": what follows when its state is lost; "" is the host's default, fail
	Limits PluginLimits `yaml:"limits"`  // what it may use
	Grants Grants       `yaml:"grants"`  // what it may see of its surroundings
	// Isolation is "process" for a module that is to run in a process of its own,
	// which can be killed, and takes nobody along when it fails; "": in the host's.
	Isolation string  `yaml:"isolation"`
	Restart   Restart `yaml:"restart"` // how it is started again when it is lost

	// Process, instead of Wasm, is an executable that runs as a process of its own.
	Process Process `yaml:"process"`

	// Remote, instead of Wasm, is another host that serves stores over gRPC:
	// "host:port" or "unix:/path". Which of its stores, the backend's config says.
	Remote         string    `yaml:"remote"`
	Token          string    `yaml:"token"`           // bearer token for Remote; absent: none
	TLS            RemoteTLS `yaml:"tls"`             // to Remote
	ConnectTimeout Duration  `yaml:"connect_timeout"` // to reach Remote; 0: the client's default
	Attempts       int       `yaml:"attempts"`        // of a call to Remote, the first included; 0: the client's default
}

// Process is an executable that is a plugin, and how it is started.
type Process struct {
	// Command is the executable and its arguments. Those that begin with ./ or ../
	// are paths from the folder of the file (once loaded: from the working directory);
	// an executable without a slash is looked up in PATH.
	Command []string `yaml:"command"`
	// Files are the digests of files that the executable runs, by path, as 64 hex
	// digits. Where sha256 is set, each argument that is a file needs one.
	Files        map[string]string `yaml:"files"`
	TLS          string            `yaml:"tls"`           // "" or "auto": the control connection is authenticated by certificates made for each start; "off", for plugins without go-plugin's AutoMTLS
	Plane        string            `yaml:"plane"`         // "" or "auto": frames where the plugin has them; "grpc": never
	StartTimeout Duration          `yaml:"start_timeout"` // until it has to be ready; 0: 10s
	StopTimeout  Duration          `yaml:"stop_timeout"`  // for calls in flight, and to flush and end; 0: 10s
}

// Restart is how a plugin that was lost is started again, if on_loss or its
// capabilities have it started at all. Zero is the default, each.
type Restart struct {
	Budget int      `yaml:"budget"` // losses and failed starts within window, beyond which it has failed and is tried rarely; 0: 5
	Window Duration `yaml:"window"` // 0: 1m
	Wait   Duration `yaml:"wait"`   // how long calls wait for it meanwhile; 0: 2s
}

// RemoteTLS is how a remote host is known and, where it asks for that, who this one
// is. The zero value: plain text. Paths are from the folder of the file (once
// loaded: from the working directory).
type RemoteTLS struct {
	CA         string `yaml:"ca"`          // what signed the host's certificate, PEM; "system", or "" with other fields set: what the system trusts
	Cert       string `yaml:"cert"`        // own certificate chain, PEM
	Key        string `yaml:"key"`         // its private key, PEM
	ServerName string `yaml:"server_name"` // what the host's certificate is for; "": the address's host
}

// PluginLimits bound what a plugin may use. Zero is the host's default, each.
type PluginLimits struct {
	Memory   Bytes    `yaml:"memory"`    // linear memory of an instance of a module; of a process, what it may use of its own (Linux alone)
	Call     Duration `yaml:"call"`      // one call, until it is interrupted; of a process: how long it may leave all calls without an answer, until it is killed
	MaxFrame Bytes    `yaml:"max_frame"` // one message across the boundary
}

// Grants are what a plugin may use of its surroundings: by default nothing.
type Grants struct {
	Env map[string]string `yaml:"env"` // its environment, as names and values
	Dir string            `yaml:"dir"` // where a process keeps its files, from the folder of the file: each store has a folder of its own in it, its working directory; "": an empty one
	// Telemetry hands a process what telemetry says of traces, with all that is in it,
	// so that its own spans go to the same place.
	Telemetry bool `yaml:"telemetry"`

	_ unsupported `yaml:"fs"`
	_ unsupported `yaml:"network"`
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
	HTTP            string       `yaml:"http"`             // "host:port", "unix:/path", or "" for none
	GRPC            string       `yaml:"grpc"`             // as HTTP
	Hosts           []string     `yaml:"hosts"`            // Host names answered to, besides the listener's own and loopback's
	Token           string       `yaml:"token"`            // bearer token that callers must send; absent: none. An empty one is an error
	TLS             TLS          `yaml:"tls"`              // certificates; needed beyond loopback
	Limits          ServerLimits `yaml:"limits"`           // what a caller may ask for
	ShutdownTimeout Duration     `yaml:"shutdown_timeout"` // how long requests in flight may take to end
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

// Root is the whole configuration as a [Node], for errors about a place in it:
//
//	cfg.Root().Errorf("stores.default.require[0]", "…")
//
// It is nil where the Config was not loaded but made by hand.
func (c *Config) Root() *Node { return strictyaml.NewNode(c.root, "") }
