// A plugin for Plinth in a module of its own: a dictionary that its configuration
// holds. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o dictionary.wasm .
package main

import "github.com/plinthkv/plinth/sdk/guest"

func init() { guest.Serve(open) } // a module has no main that runs

func main() {}
