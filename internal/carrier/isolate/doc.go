// Package isolate runs a WebAssembly module in a process of its own: a worker, which
// the host starts as it starts any other subprocess. A guest that hangs is killed
// there, so that its loops need no checks for interruption. A guest that uses up its
// memory, or crashes the runtime, affects nothing else.
//
// What belongs here is both sides of the worker's configuration. Package wasmhost runs
// modules, package procs starts processes.
package isolate
