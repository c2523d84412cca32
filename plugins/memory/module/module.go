// Package module embeds the memory backend as a WebAssembly module, so that a
// program needs no separate file. "make generate" rebuilds memory.wasm from
// plugins/memory/wasm; a test fails if it differs from what its source builds.
package module

import _ "embed"

// Wasm is the module.
//
//go:embed memory.wasm
var Wasm []byte
