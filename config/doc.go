// Package config reads Plinth's configuration: it lays the built-in defaults, a
// YAML file, the environment and command-line flags over each other, resolves
// references, decodes strictly and reports everything that is wrong at once,
// each problem with its file, line and column.
//
// It builds nothing. What belongs to a wrapper or to a plugin is handed out as a
// [Node], which its owner decodes strictly into a type of its own, so that this
// package knows neither the host nor the wrappers.
//
// # Layers
//
// From weakest to strongest:
//
//  1. the built-in defaults, [Default];
//  2. the file;
//  3. the environment: PLINTH_SERVER__HTTP, with two underscores between levels;
//  4. flags: a dotted path with a value, such as server.http.
//
// A file that names "stores" replaces the built-in stores as a whole: who writes
// a store "a" does not also get "default". "server" is merged key by key,
// "plugins" and "telemetry" by name. In "server" and in "plugins", a key with
// nothing after it counts as not written; "stores" with nothing after it is an
// error, never a silent return to the built-in store.
//
// Environment and flags override one value each, or add one where the place is
// known. They never add a store, a plugin or a stage. Names match without regard
// to case, and "_" matches "-" too; a pipeline's stages are addressed by name:
//
//	PLINTH_STORES__DEFAULT__PIPELINE__CACHE__TTL=30s
//
// A list of plain values is written with commas. A variable that starts with
// PLINTH_ but has no second level (PLINTH_CONFIG, and what Kubernetes sets for a
// service of that name) is not ours, unless it names a section of the
// configuration.
//
// # References
//
// ${env:NAME}, ${env:NAME:-default} and ${file:PATH} stand for a value in any
// scalar of the file or of a flag; $$ stands for a dollar. What comes back is
// read by the type that is wanted, never as YAML, and is not looked into for
// further references. Inside { } and [ ], YAML wants quotes around a reference.
// A value that came from a reference or from the environment is never shown in
// an error.
//
// # YAML
//
// One document of at most 1 MiB, UTF-8, no anchors, aliases, merge keys or tags.
// Paths in it are relative to the file's folder.
package config
