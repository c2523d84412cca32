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

// Gate is what a plugin with new files has to pass before a reload takes it.
type Gate struct {
	// Gate is what a reload does first with a plugin whose file is another one, on a scratch
	// instance: "smoke", "full" or "none"; "": smoke.
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

// Gated is a carrier whose plugin can be tried beside its backends.
type Gated interface {
	Filed
	// Gate is what it has to pass.
	Gate() string
	// Subject is the plugin as the conformance kit is told of it.
	Subject(config Config) (Subject, error)
	// Scratch opens a backend that is empty, and gone with its Close. Nil without an error:
	// the plugin keeps its items elsewhere, where they would stay.
	Scratch(ctx context.Context, config Config) (Backend, error)
}

// Subject is a plugin that the conformance kit is to try: a module, or a command.
type Subject struct {
	Name      string
	Module    string   // path of the module; empty: it is a process
	Command   []string // the executable and its arguments
	Env       map[string]string
	Config    json.RawMessage // its configuration, a JSON object; nil: none
	Memory    uint64          // of a module, in bytes
	Plaintext bool            // without TLS on the control connection
	Plain     bool            // over gRPC although it offers frames
}
