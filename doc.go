// Package plinth is a storage host: it loads key-value backends, written by anyone, as
// WebAssembly modules or processes, puts wrappers around them according to a
// configuration, and offers each as a storage.Store.
//
//	h, err := plinth.Open(ctx, "plinth.yaml")
//	…
//	defer h.Close(ctx)
//	store, err := h.Store("default")
//	…
//	err = store.Set(ctx, []byte("hello"), []byte("world"))
//
// This package is the façade over all others: package storage has the interface that
// backends implement and the Store that applications call, sdk is for authors of plugins,
// and abi is the contract between host and plugin.
package plinth
