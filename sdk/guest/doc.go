// Package guest makes a WebAssembly plugin of a backend: it exports the functions of ABI
// v1 (abi/SPEC.md) and calls the backend for them. A plugin is
//
//	package main
//
//	import "github.com/plinthkv/plinth/sdk/guest"
//
//	func init() { guest.Serve(open) } // the main function of a module never runs
//	func main() {}
//
// where open is an sdk.Opener. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .
//
// A module has one thread: the host makes one call at a time, goroutines of the backend
// run only within a call, and sleeping blocks all callers. A panic of the backend becomes
// an error with its text, and ends the instance.
//
// This package contains the guest's half of the WASM carrier. Everything but the exports
// themselves is plain Go, and is tested natively.
package guest
