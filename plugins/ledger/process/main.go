// The ledger backend as a subprocess plugin.
package main

import (
	"context"

	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() {
	tracer, stop := plugin.Traces()
	open := ledger.Opener(tracer) // asks the cluster, and changes nothing
	process.Plugin{Open: open, Try: sdk.TryByOpening(open), AtEnd: []func(context.Context) error{stop}}.Serve()
}
