// Package isolate runs a WebAssembly module in a process of its own: a worker, which
// the host starts as it starts any other subprocess. A guest that hangs is killed
// there without the checks in its loops that an interruption takes, and one that
// uses up its memory, or brings the runtime down, takes nobody along.
//
// What belongs here is both sides of the worker's configuration. Running modules is
// the business of wasmhost, starting processes that of procs.
package isolate
