package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/config/configtest"
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// engines are what the plugins of the program can do as they are by default, in the order
// of the pages.
func engines() []storage.Info {
	onPebble, onEtcd, onLedger := pebble.DefaultConfig(), etcd.DefaultConfig(), ledger.DefaultConfig()
	return []storage.Info{
		memory.New(memory.DefaultConfig(), sdk.Env{}).Info(),
		onPebble.Info(),
		onEtcd.Info(),
		onLedger.Info(),
	}
}

// printEngines prints what plugins of the program can do.
func printEngines(to io.Writer) error {
	t := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nBUILT IN\tCAPABILITIES, LIMITS")
	for _, i := range engines() {
		fmt.Fprintf(t, "%s\t%s\n\t%s\n", i.Name, strings.Join(i.Caps.Names(), ", "), limits(i.Limits))
	}
	return t.Flush()
}

// builtinBackends are the plugins that a configuration may name without an entry, beside
// memory.
func builtinBackends() (names []string) {
	for _, i := range engines() {
		if i.Name != config.Memory {
			names = append(names, i.Name)
		}
	}
	return names
}

// trials say what a backend of the program can do with a configuration, without opening what
// that names.
func trials() map[string]configtest.Engine {
	return map[string]configtest.Engine{
		config.Memory: func(ctx context.Context, env sdk.Env) (storage.Info, error) {
			return sdk.TryByOpening(memory.Open)(ctx, env)
		},
		pebblePlugin: pebble.Info,
		ledgerPlugin: ledger.Info,
	}
}
