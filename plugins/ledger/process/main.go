// The ledger backend as a subprocess plugin.
package main

import (
	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() {
	tracer, stop := plugin.Traces()
	process.Serve(ledger.Opener(tracer), stop)
}
