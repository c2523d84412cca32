// The memory backend as a WebAssembly plugin.
package main

import (
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk/guest"
)

func init() { guest.Serve(memory.Open) } // a module has no main that runs

func main() {}
