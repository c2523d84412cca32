// Package sdk is what the author of a Plinth plugin in Go writes against,
// whatever carrier the plugin is built for: the [Opener] that makes a backend,
// the [Env] it is made in, and strict decoding of its configuration. The
// backend itself is a storage.Backend. A main package hands the Opener to
// sdk/guest, for a WebAssembly module.
//
// Standard library, storage and abi only: a module that imports sdk requires
// nothing but Plinth.
package sdk
