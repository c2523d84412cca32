// Package sdk contains the parts of a Plinth plugin in Go that are independent of the
// carrier: the [Opener] that makes a backend, the [Env] that it is made in, and strict
// decoding of its configuration. The backend itself is a storage.Backend. A main package
// passes the Opener to sdk/guest, for a WebAssembly module, or to sdk/process, for an
// executable.
//
// It imports the standard library, storage and abi only: a module that imports sdk
// requires nothing but Plinth.
package sdk
