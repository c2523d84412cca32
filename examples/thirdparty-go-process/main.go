// The plugin journal for Plinth: a store in memory that is durable, because every
// write goes to a journal first. Build it with
//
//	go build .
package main

import "github.com/plinthkv/plinth/sdk/process"

func main() { process.Plugin{Open: open, Try: try}.Serve() }
