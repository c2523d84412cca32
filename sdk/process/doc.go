// Package process makes a subprocess plugin of a backend: an executable that a
// host starts, and that answers it over a private socket. A plugin is
//
//	package main
//
//	import "github.com/plinthkv/plinth/sdk/process"
//
//	func main() { process.Serve(open) }
//
// with open an sdk.Opener, built by go build. Serve also watches the host, so that
// a plugin does not outlive it, and sends what the backend logs there.
//
// Calls come by several goroutines at once, each with a context that ends when its
// caller leaves or its deadline passes; a backend whose calls never wait says so by
// sdk.Quick, and is then asked by one goroutine. A panic ends the process, with its
// text on standard error, from where the host takes the reason.
//
// What belongs here is the plugin's half of the process carrier: go-plugin and
// gRPC, which nothing else of the SDK sees.
package process
