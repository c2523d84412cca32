// Command process is the etcd plugin as a subprocess: an executable that a host starts.
package main

import (
	"github.com/plinthkv/plinth/plugins/etcd"
	"github.com/plinthkv/plinth/sdk/process"
)

func main() { process.Plugin{Open: etcd.Open, Try: etcd.Info}.Serve() }
