package host

import (
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Store is a store of the host: a pipeline over a backend, which a reload may replace. What
// it says of itself is of the pipeline in force. The host closes it: its own Close does
// nothing.
type Store struct {
	*storage.Store
	front *front
}

func (s *Store) pipeline() *pipeline { return s.front.pipeline() }

// Untried is why a trial host cannot tell what the store would be; nil: it can.
func (s *Store) Untried() error { return s.pipeline().untried }

// Name is the store's name in the configuration.
func (s *Store) Name() string { return s.front.name }

// Plugin is the name of the plugin that its backend is.
func (s *Store) Plugin() string { return s.pipeline().plugin }

// Carrier is how that backend is reached: [CarrierWasm], [CarrierProcess], [CarrierRemote]
// or [CarrierNative].
func (s *Store) Carrier() string { return s.pipeline().carrier }

// Shared reports whether others may write to that backend, past this host.
func (s *Store) Shared() bool {
	b := s.pipeline().backend
	return b == nil || b.shared
}

// Stages are the names of its wrappers, outermost first.
func (s *Store) Stages() []string {
	var names []string
	for _, stage := range s.pipeline().declared {
		names = append(names, stage.Name)
	}
	return names
}

// Promises are what the store guarantees, and which stage changes what about it.
func (s *Store) Promises() []wrappers.Promise {
	p := s.pipeline()
	if p.backend == nil {
		return nil
	}
	return wrappers.Promises(p.declared, p.backend.below())
}

// Warnings are about stages that stand where they had better not.
func (s *Store) Warnings() []string {
	var warnings []string
	for _, f := range wrappers.Judge(s.pipeline().declared) {
		if !f.Refused {
			warnings = append(warnings, f.Text)
		}
	}
	return warnings
}
