package main

import (
	"fmt"

	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
)

// ledgerVault is the vault that a command is about.
type ledgerVault struct {
	Source       source   `embed:""`
	Store        string   `help:"Store of the configuration whose backend is the vault." default:"default"`
	Endpoint     []string `help:"A node of the cluster, in place of a configuration; may be repeated." placeholder:"URL"`
	Organization uint64   `help:"Slug of the organization; goes with --endpoint."`
	Vault        uint64   `help:"Slug of the vault; goes with --endpoint."`
}

// settings are those of the backend: of the flags, or of a store of a configuration.
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
		return own, usagef("the configuration has no store %q: --store names one, or --endpoint, --organization and --vault a vault", v.Store)
	}
	raw, err := store.Backend.Config.JSON()
	if err != nil {
		return own, err
	}
	if err := sdk.DecodeConfig(raw, &own); err != nil {
		return own, fmt.Errorf("the backend of the store %s is no ledger, or not as it should be: %w", v.Store, err)
	}
	return own, nil
}
