// Package wrappers is what a pipeline is made with: the [Factory] of a wrapper,
// the [Registry] of those that a configuration may name, and the [Hub] by which
// every write to a backend reaches the caches above it.
//
// A wrapper is a package below this one: config.go with what YAML holds, one
// file with the backend that decorates the next, and a doc.go that says what it
// needs, preserves and weakens. A wrapper writes out every method of
// storage.Backend, so that a new one cannot slip past it. Wrappers know neither
// the host nor the configuration nor each other.
package wrappers
