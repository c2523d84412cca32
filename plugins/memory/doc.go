// Package memory is the built-in backend that keeps everything in memory: an
// ordered map with versions, expiry, range deletes, snapshots and idempotent
// writes. Nothing survives a restart. It is one package for every carrier:
// linked in, and as the WebAssembly module in module/, built from wasm/.
//
// What belongs here is the backend alone; it knows storage and sdk, and neither
// the host nor its carriers.
package memory
