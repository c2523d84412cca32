// Package wrappers contains the parts of pipelines: the [Factory] of a wrapper, the
// [Registry] of wrappers that a configuration may name, and the [Hub], which notifies the
// caches above a backend of every write to it.
//
// A wrapper is a package below this one: config.go with its settings in YAML, one
// file with the backend that decorates the next, and a doc.go that says what it
// needs, preserves and weakens. A wrapper writes out every method of
// storage.Backend, so that a new one cannot slip past it. Wrappers know neither
// the host nor the configuration nor each other.
package wrappers
