// Command process is the postgres plugin as a subprocess: an executable that a host starts.
package main

import (
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() { process.Plugin{Open: postgres.Open, Try: postgres.Info}.Serve() }
