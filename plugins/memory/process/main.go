// Command process is the memory plugin as a subprocess: an executable that a host
// starts.
package main

import (
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() { process.Plugin{Open: memory.Open, Try: sdk.TryByOpening(memory.Open)}.Serve() }
