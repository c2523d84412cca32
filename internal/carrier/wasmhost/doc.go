// Package wasmhost is the carrier that runs a backend as a WebAssembly module:
// the host's half of ABI v1 (abi/SPEC.md), on wazero. It alone imports wazero.
//
// A [Runtime] holds what modules share, the compilation cache. A [Module] is a
// plugin, compiled and checked; a [Backend] is an opened one. The guest is not
// trusted: whatever it answers is checked, a call that runs too long is
// interrupted, and an instance that trapped, exited, panicked, overran or
// answered garbage is discarded and never called again. What wazero leaves
// without bound is built into the module, or checked, before it is compiled.
//
// What belongs here is the carrier only. Package host knows the plugins, their configuration
// and their users.
package wasmhost
