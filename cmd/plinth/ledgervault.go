package main

import (
	"fmt"

	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
)

// ledgerVault is the vault that a command is about.
type ledgerVault struct {
	Source       source   `embed:""`
	Store        string   `help:"Configured store whose backend is the vault." default:"default"`
	Endpoint     []string `help:"Node of the cluster, instead of a configuration; may be repeated." placeholder:"URL"`
	Organization uint64   `help:"Slug of the organization; requires --endpoint."`
	Vault        uint64   `help:"Slug of the vault; requires --endpoint."`
}

// settings returns those of the backend: of the flags, or of a store of a configuration.
func (v ledgerVault) settings(e env) (ledger.Config, error) {
	own := ledger.DefaultConfig()
	if len(v.Endpoint) > 0 {
		own.Endpoints, own.Organization, own.Vault = v.Endpoint, v.Organization, v.Vault
		return own, nil
	}
	cfg, err := v.Source.load(e)
	if err != nil {
		return own, listed(err)
	}
	store, ok := cfg.Stores[v.Store]
	if !ok {
		return own, usagef("the configuration has no store %q: set --store, or name a vault with --endpoint, --organization and --vault", v.Store)
	}
	raw, err := store.Backend.Config.JSON()
	if err != nil {
		return own, err
	}
	if err := sdk.DecodeConfig(raw, &own); err != nil {
		return own, fmt.Errorf("the backend of the store %s is not a valid ledger: %w", v.Store, err)
	}
	return own, nil
}
