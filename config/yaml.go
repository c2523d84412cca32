package config

import "github.com/plinthkv/plinth/config/internal/strictyaml"

// Node is a part of the configuration that its owner decodes: the settings of a
// wrapper, of a plugin. Its methods are Decode, which is strict and reports all
// problems at once, JSON, Errorf and Pos for errors of the owner's own, Path and
// IsEmpty. It does not change; a nil *Node is a part that is not written.
type Node = strictyaml.Node

// Position is a file, line and column. The zero value is unknown.
type Position = strictyaml.Position

// Error is one problem with its position and path. Its message holds no value that
// came from the environment or from a reference, and no secret.
type Error = strictyaml.Error

// Errors are all problems of a [Load] or of a Decode, in the order of the file.
type Errors = strictyaml.Errors

// FieldError is what a Validate method returns about one field; several go through
// [errors.Join]. Decoding adds the position.
type FieldError = strictyaml.FieldError

// Bytes is a size in bytes, 64MiB or 4kB in text. It is never negative.
type Bytes = strictyaml.Bytes

// Duration is a length of time, 500ms or 1h30m in text. It is never negative.
type Duration = strictyaml.Duration

// Join gathers the errors of several decodes and checks into one [Errors], sorted and
// without repeats; nil errors are left out. It is nil if nothing remains. An error
// that is neither an [*Error] nor [Errors] keeps its text and has no position.
func Join(errs ...error) error { return strictyaml.Join(errs...) }

// Hint ends a message about an unknown name, for packages whose names this one does
// not know: the nearest known one or, where none is close, all of them.
func Hint(name string, known []string) string { return strictyaml.Hint(name, known) }
