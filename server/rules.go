package server

import (
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/storage"
)

// rules holds the settings that a reload can change. A rules value is immutable.
type rules struct {
	stores          map[string]*storage.Store
	guesses         map[*storage.Store]*budget.Guess
	gatekeeper      gatekeeper.Gatekeeper
	admin           gatekeeper.Gatekeeper // the token that admits administrators from anywhere; optional
	hosts           map[string]bool       // nil means any
	maxOps, maxKeys int
	body            int64
}

func (s *Server) now() *rules { return s.rules.Load() }

// Update changes the stores, and Token, AdminToken, Hosts, BodyBytes, MaxOps and MaxKeys
// to those of c, for requests that arrive from now on. The rest of c is ignored: it is
// fixed when the server is made.
func (s *Server) Update(c Config, stores map[string]*storage.Store) {
	c.defaults()
	var before map[*storage.Store]*budget.Guess
	if now := s.now(); now != nil {
		before = now.guesses
	}
	r := &rules{stores: maps.Clone(stores), guesses: budget.Guesses(before, slices.Collect(maps.Values(stores))), gatekeeper: gatekeeper.Gatekeeper{Token: c.Token}, admin: gatekeeper.Gatekeeper{Token: c.AdminToken},
		maxOps: c.MaxOps, maxKeys: c.MaxKeys, body: c.BodyBytes}
	if s.config.Address != "" || len(c.Hosts) > 0 {
		r.hosts = map[string]bool{"localhost": true}
		for _, h := range c.Hosts {
			r.hosts[strings.ToLower(h)] = true
		}
		if host, _, err := net.SplitHostPort(s.config.Address); err == nil && host != "" {
			r.hosts[strings.ToLower(host)] = true
		}
	}
	s.rules.Store(r)
}
