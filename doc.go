// Package plinth is a storage host: it loads key-value backends that anyone
// wrote, as WebAssembly modules, puts wrappers around them as a configuration
// says, and offers each as a storage.Store.
//
//	h, err := plinth.Open(ctx, "plinth.yaml")
//	…
//	defer h.Close(ctx)
//	store, err := h.Store("default")
//	…
//	err = store.Set(ctx, []byte("hello"), []byte("world"))
//
// This package is the façade that sees every other: package storage has the
// interface that backends implement and applications call, sdk what authors of
// plugins need, abi the contract between host and plugin.
package plinth
