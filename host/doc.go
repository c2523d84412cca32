// Package host loads plugins, opens backends and builds pipelines of wrappers over them
// from a configuration, and owns all of them until it is closed.
//
// This package assembles and closes them. Carriers reach the backends, in
// internal/carrier, and each wrapper has a package of its own.
package host
