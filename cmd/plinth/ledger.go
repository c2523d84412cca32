package main

import (
	"context"
	"os"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk/process"
)

// pluginVariable is the environment variable that says to the program that it is a
// plugin, and which.
const pluginVariable = "PLINTH_BUILTIN_PLUGIN"

// ledgerPlugin is the plugin that the program starts itself as.
const ledgerPlugin = "ledger"

// runPlugin is that plugin, if this process was started as one: then it does not
// return.
func runPlugin() {
	if os.Getenv(pluginVariable) == ledgerPlugin {
		tracer, stop := plugin.Traces()
		open := ledger.Opener(tracer) // asks the cluster, and changes nothing
		process.Plugin{Open: open, Try: process.TryByOpening(open), AtEnd: []func(context.Context) error{stop}}.Serve()
	}
}

// builtinPrograms are the plugins that a configuration may name without an entry,
// beside memory.
func builtinPrograms() []string { return []string{ledgerPlugin} }

// programs are the plugins that the program is itself. Clusters have other clients.
func programs(self string) []plinth.Option {
	return []plinth.Option{plinth.WithProgram(ledgerPlugin, plinth.Program{
		Command: []string{self}, Env: programEnv(ledgerPlugin), Shared: true,
	})}
}

// programEnv is what has this program be that plugin.
func programEnv(name string) map[string]string { return map[string]string{pluginVariable: name} }
