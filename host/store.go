package host

import (
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Store gives access to a store of the host: a pipeline over a backend, which a reload may
// replace. Its methods describe the pipeline in force. The host closes it: its own Close
// does nothing.
type Store struct {
	*storage.Store
	front *front
}

func (s *Store) pipeline() *pipeline { return s.front.pipeline() }

// Untried returns the reason why a trial host could not check the store, or nil if it did.
func (s *Store) Untried() error { return s.pipeline().untried }

// Name returns the name of the store in the configuration.
func (s *Store) Name() string { return s.front.name }

// Plugin returns the name of its backend's plugin.
func (s *Store) Plugin() string { return s.pipeline().plugin }

// Carrier returns the carrier of its backend: [CarrierWasm], [CarrierProcess],
// [CarrierRemote] or [CarrierNative].
func (s *Store) Carrier() string { return s.pipeline().carrier }

// Shared reports whether its backend may have writers besides this host.
func (s *Store) Shared() bool {
	b := s.pipeline().backend
	return b == nil || b.shared
}

// Stages returns the names of its stages, outermost first.
func (s *Store) Stages() []string {
	var names []string
	for _, stage := range s.pipeline().declared {
		names = append(names, stage.Name)
	}
	return names
}

// Promises returns the guarantees of the store, with the changes that each stage makes to them.
func (s *Store) Promises() []wrappers.Promise {
	p := s.pipeline()
	if p.backend == nil {
		return nil
	}
	return wrappers.Promises(p.declared, p.backend.below())
}

// Warnings returns warnings about misplaced stages.
func (s *Store) Warnings() []string {
	var warnings []string
	for _, f := range wrappers.Judge(s.pipeline().declared) {
		if !f.Refused {
			warnings = append(warnings, f.Text)
		}
	}
	return warnings
}
