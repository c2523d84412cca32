// The ledger backend as a subprocess plugin.
package main

import (
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() { process.Serve(ledger.Open) }
