// Package strictyaml reads YAML in which every value knows its position, and decodes it
// strictly into Go types: unknown and repeated keys, wrong types and bad values are
// reported all at once, each with file, line, column and path.
//
// It knows nothing of Plinth's configuration: what the keys mean, which layers there
// are and how references are resolved is package config's.
//
// [Parse] makes a tree of [Value]s of a document, a [Node] is a part of that tree for
// its owner, and a [Decoder] decodes it. Errors are [Errors], gathered in [Problems].
//
// # YAML
//
// One document of at most 1 MiB, UTF-8, of mappings, lists and scalars. Anchors,
// aliases, merge keys and tags are refused. Plain scalars have the types of YAML 1.2's
// core schema: yes, on, 1_000 and 12:30 are strings, and 0644 is an error, because
// readers of YAML do not agree on it.
package strictyaml
