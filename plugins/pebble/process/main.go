// Command process is the pebble plugin as a subprocess: an executable that a host starts.
package main

import (
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() { process.Plugin{Open: pebble.Open, Try: pebble.Info}.Serve() }
