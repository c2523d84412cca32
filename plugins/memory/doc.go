// Package memory is the built-in backend that keeps everything in memory: an
// ordered map with versions, expiry, range deletes, snapshots and idempotent
// writes. Nothing survives a restart. It is one package for every carrier: linked
// in, and as the WebAssembly module in module/, built from wasm/.
//
// Everything that it keeps is in an arena without pointers: slabs with slots of one
// size (arena.go), items in them (item.go), which are found by key in a hash table
// (index.go) and in order in B+trees (tree.go), whose parts are slots too. What is
// left of nearly empty slabs is moved together (compact.go). So the memory in use is
// the budget and a constant, however the sizes of items change, and Go's collector has
// nothing to trace.
//
// What belongs here is the backend only; it depends on storage and sdk, and neither on the
// host nor on its carriers.
package memory
