package grpcserver

import (
	"maps"
	"slices"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/storage"
)

// rules holds the settings that a reload can change. A rules value is immutable.
type rules struct {
	stores     map[string]*storage.Store
	guesses    map[*storage.Store]*budget.Guess
	only       string // the name of the store, where there is one alone
	gatekeeper gatekeeper.Gatekeeper
	limits     storage.Limits
}

func (s *Server) now() *rules { return s.rules.Load() }

// Update changes the stores, and Token, MaxOps and MaxKeys to those of c, for calls that
// arrive from now on. The rest of c is ignored: it is fixed when the server is made.
func (s *Server) Update(c Config, stores map[string]*storage.Store) {
	c.defaults()
	c.MessageBytes = s.config.MessageBytes
	var before map[*storage.Store]*budget.Guess
	if now := s.now(); now != nil {
		before = now.guesses
	}
	r := &rules{stores: maps.Clone(stores), guesses: budget.Guesses(before, slices.Collect(maps.Values(stores))), gatekeeper: gatekeeper.Gatekeeper{Token: c.Token}, limits: c.limits()}
	if names := slices.Collect(maps.Keys(stores)); len(names) == 1 {
		r.only = names[0]
	}
	s.rules.Store(r)
}
