package carrier

import (
	"context"
	"encoding/json"
)

// The values of a plugin's gate. The empty one is GateSmoke.
const (
	GateSmoke = "smoke" // a few calls of each kind
	GateFull  = "full"  // the conformance kit
	GateNone  = "none"  // it is not tried
)

// Gate configures the trial of a plugin with new files before a reload uses it.
type Gate struct {
	// Gate is the trial of a plugin with a new file, on a scratch instance, before a
	// reload uses it: "smoke" (the default), "full" or "none".
	Gate string `yaml:"gate"`
}

// Validate checks the choice.
func (g *Gate) Validate() error {
	switch g.Gate {
	case "", GateSmoke, GateFull, GateNone:
		return nil
	}
	return Fieldf("gate", "must be smoke, full or none")
}

// Gated is a carrier whose plugin can be tried next to its backends.
type Gated interface {
	Filed
	// Gate returns the trial that the plugin must pass.
	Gate() string
	// Subject returns the plugin for the conformance kit.
	Subject(config Config) (Subject, error)
	// Scratch opens an empty backend, which is gone after its Close. Nil without an error
	// means that the plugin keeps its items elsewhere, where they would stay.
	Scratch(ctx context.Context, config Config) (Backend, error)
}

// Subject gives the conformance kit a plugin: a module, or a command.
type Subject struct {
	Name      string
	Module    string   // path of the module; empty for a process
	Command   []string // the executable and its arguments
	Env       map[string]string
	Config    json.RawMessage // its configuration, a JSON object, or nil
	Memory    uint64          // of a module, in bytes
	Plaintext bool            // without TLS on the control connection
	Plain     bool            // over gRPC although it offers frames
}
