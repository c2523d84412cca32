// Package guest makes a WebAssembly plugin of a backend: it exports the
// functions of ABI v1 (abi/SPEC.md) and calls the backend for them. A plugin is
//
//	package main
//
//	import "github.com/plinthkv/plinth/sdk/guest"
//
//	func init() { guest.Serve(open) } // a module has no main that runs
//	func main() {}
//
// with open an sdk.Opener, built by
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .
//
// A module has one thread: the host calls it for one thing at a time, goroutines
// of the backend run only within a call, and sleeping holds up everybody. A
// panic of the backend becomes an error with its text, and ends the instance.
//
// What belongs here is the guest's half of the WASM carrier. All but the
// exports themselves is plain Go, and is tested so.
package guest
