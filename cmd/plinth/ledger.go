package main

import (
	"context"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
)

// ledgerPlugin is the name of the plugin for Ledger clusters.
const ledgerPlugin = "ledger"

// backends are the plugins that the program brings, as a host and its worker have them.
// Clusters have other clients.
func backends() []plinth.Option {
	open := ledger.Opener(nil) // asks the cluster, and changes nothing
	return []plinth.Option{
		plinth.WithModule(config.Memory, module.Wasm),
		plinth.WithBackend(pebblePlugin, pebble.Open, plinth.TriedBy(pebble.Info)),
		plinth.WithBackend(postgresPlugin, postgres.Open, plinth.Shared(), plinth.TriedBy(postgres.Info)),
		plinth.WithBackend(ledgerPlugin, open, plinth.Shared(), plinth.Isolated(), plinth.TriedBy(sdk.TryByOpening(open)), plinth.ServedBy(serveLedger)),
	}
}

// serveLedger is the worker of that backend, with traces of its own.
func serveLedger() {
	tracer, stop := plugin.Traces()
	open := ledger.Opener(tracer)
	process.Plugin{Open: open, Try: sdk.TryByOpening(open), AtEnd: []func(context.Context) error{stop}}.Serve()
}

// builtinBackends are the plugins that a configuration may name without an entry, beside
// memory.
func builtinBackends() []string { return []string{ledgerPlugin, pebblePlugin, postgresPlugin} }
