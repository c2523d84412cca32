package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/config/configtest"
	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// The names of the engines that commands know by more than that.
const (
	pebblePlugin   = "pebble"
	postgresPlugin = "postgres"
	ledgerPlugin   = "ledger"
)

// engine is a backend that the program brings: a plugin without an entry in the
// configuration.
type engine struct {
	name string
	// byDefault is what it can do with its default configuration; judge, with another one,
	// which it refuses where it makes no sense. Neither opens what the configuration names.
	byDefault func() storage.Info
	judge     func(context.Context, sdk.Env) (storage.Info, error)
	option    plinth.Option // that makes it one
	isolated  bool          // it runs in a process of its own where nothing else is said
	shared    bool          // others may write to its stores, past the host
}

// engines returns all of them, in the order of the pages.
func engines() []engine {
	onPebble, onEtcd, onPostgres, onLedger := pebble.DefaultConfig(), etcd.DefaultConfig(), postgres.DefaultConfig(), ledger.DefaultConfig()
	openLedger := ledger.Opener(nil) // asks the cluster, and changes nothing
	return []engine{
		{config.Memory, func() storage.Info { return memory.New(memory.DefaultConfig(), sdk.Env{}).Info() }, sdk.TryByOpening(memory.Open),
			plinth.WithModule(config.Memory, module.Wasm), false, false},
		{pebblePlugin, onPebble.Info, pebble.Info,
			plinth.WithBackend(pebblePlugin, pebble.Open, plinth.TriedBy(pebble.Info)), false, false},
		{"etcd", onEtcd.Info, etcd.Info,
			plinth.WithBackend("etcd", etcd.Open, plinth.Shared(), plinth.TriedBy(etcd.Info), plinth.Secrets(onEtcd)), false, true},
		{postgresPlugin, onPostgres.Info, postgres.Info,
			plinth.WithBackend(postgresPlugin, postgres.Open, plinth.Shared(), plinth.TriedBy(postgres.Info), plinth.Secrets(onPostgres)), false, true},
		{ledgerPlugin, onLedger.Info, ledger.Info,
			plinth.WithBackend(ledgerPlugin, openLedger, plinth.Shared(), plinth.Isolated(), plinth.TriedBy(sdk.TryByOpening(openLedger)), plinth.ServedBy(serveLedger)), true, true},
	}
}

// serveLedger runs the worker of that backend, with traces of its own.
func serveLedger() {
	tracer, stop := plugin.Traces()
	open := ledger.Opener(tracer)
	process.Plugin{Open: open, Try: sdk.TryByOpening(open), AtEnd: []func(context.Context) error{stop}}.Serve()
}

// backends returns the options of a host, and of its worker, that has the engines.
func backends() (opts []plinth.Option) {
	for _, e := range engines() {
		opts = append(opts, e.option)
	}
	return opts
}

// builtinBackends returns the plugins that a configuration may name without an entry, in
// addition to memory.
func builtinBackends() (names []string) {
	for _, e := range engines() {
		if e.name != config.Memory {
			names = append(names, e.name)
		}
	}
	return names
}

// trials judge configurations of engines, by their names.
func trials() map[string]configtest.Engine {
	all := map[string]configtest.Engine{}
	for _, e := range engines() {
		all[e.name] = e.judge
	}
	return all
}

// isolatedByDefault reports of an engine whether it runs in a process of its own where
// nothing else is said.
func isolatedByDefault(name string) bool {
	for _, e := range engines() {
		if e.name == name {
			return e.isolated
		}
	}
	return false
}

// asHosted returns what an engine can do in a host, which keeps the changes of engines that
// have no other writers. The capability change_notice is of use to the host only.
func (e engine) asHosted() storage.Info {
	own := e.byDefault()
	hub := wrappers.NewHub(told{info: own})
	if !e.shared && !e.isolated {
		hub.KeepChanges(time.Now)
	}
	info := hub.Backend().Info()
	info.Caps |= own.Caps & storage.CapChangeNotice
	return info
}

// told is a backend of which only Info works.
type told struct {
	storage.UnimplementedBackend
	info storage.Info
}

func (t told) Info() storage.Info { return t.info }

// printEngines prints what plugins of the program can do.
func printEngines(to io.Writer) error {
	t := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nBUILT IN\tCAPABILITIES, LIMITS")
	for _, e := range engines() {
		i := e.asHosted()
		fmt.Fprintf(t, "%s\t%s\n\t%s\n", e.name, strings.Join(i.Caps.Names(), ", "), limits(i.Limits))
	}
	return t.Flush()
}
