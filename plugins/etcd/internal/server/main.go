// Command server is etcd, for the tests of the plugin: a module of its own, so that what a
// server stands on is in no other go.mod.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
