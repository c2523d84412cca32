// Package process makes a subprocess plugin of a backend: an executable that a host
// starts and calls over a private socket. A plugin is
//
//	package main
//
//	import "github.com/plinthkv/plinth/sdk/process"
//
//	func main() { process.Serve(open) }
//
// where open is an sdk.Opener. Build it with go build. Serve also watches the host, so
// that the plugin does not outlive it, and sends the backend's log there.
//
// Calls arrive on several goroutines at once, each with a context that ends when its
// caller leaves or its deadline passes. A backend whose calls never wait implements
// sdk.Quick, and is then called from one goroutine. A panic ends the process, and its
// text on standard error becomes the reason of the loss.
//
// This package contains the plugin's half of the process carrier: go-plugin and gRPC,
// which the rest of the SDK does not import.
package process
