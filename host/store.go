package host

import (
	"slices"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Store is a pipeline over a backend. The host closes it: its own Close does nothing.
type Store struct {
	*storage.Store
	name     string
	plugin   string
	carrier  string
	stages   []string
	pipeline []storage.Backend // innermost first
	declared []wrappers.Stage  // outermost first
	backend  *backend
	untried  error
	later    *later // nil: it was open from the start
}

// Untried is why a trial host cannot tell what the store would be; nil: it can.
func (s *Store) Untried() error { return s.untried }

// Name is the store's name in the configuration.
func (s *Store) Name() string { return s.name }

// Plugin is the name of the plugin that its backend is.
func (s *Store) Plugin() string { return s.plugin }

// Carrier is how that backend is reached: [CarrierWasm], [CarrierProcess], [CarrierRemote]
// or [CarrierNative].
func (s *Store) Carrier() string { return s.carrier }

// Shared tells whether others may write to that backend, past this host.
func (s *Store) Shared() bool { return s.backend.shared }

// Stages are the names of its wrappers, outermost first.
func (s *Store) Stages() []string { return slices.Clone(s.stages) }

// Promises are what the store guarantees, and which stage changes what about it.
func (s *Store) Promises() []wrappers.Promise {
	return wrappers.Promises(s.declared, s.backend.below())
}

// Warnings are about stages that stand where they had better not.
func (s *Store) Warnings() []string {
	var warnings []string
	for _, f := range wrappers.Judge(s.declared) {
		if !f.Refused {
			warnings = append(warnings, f.Text)
		}
	}
	return warnings
}
