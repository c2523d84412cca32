package config

import "github.com/plinthkv/plinth/config/internal/strictyaml"

// Node is a part of the configuration that its owner decodes: the settings of a wrapper
// or of a plugin. Decode is strict and reports all problems at once, JSON returns it as
// JSON, Errorf and Pos make errors with positions, Path and IsEmpty describe it. It is
// immutable; a nil *Node is a part that is not written.
type Node = strictyaml.Node

// Position locates something by file, line and column. The zero value is unknown.
type Position = strictyaml.Position

// Error reports one problem with its position and path. Its message contains no value from
// the environment or from a reference, and no secret.
type Error = strictyaml.Error

// Errors collects all problems of a [Load] or of a Decode, in the order of the file.
type Errors = strictyaml.Errors

// FieldError reports a Validate method's error about one field; join several with
// [errors.Join]. Decoding adds the position.
type FieldError = strictyaml.FieldError

// Bytes is a size in bytes, as text 64MiB or 4kB. It is never negative.
type Bytes = strictyaml.Bytes

// Duration is a length of time, as text 500ms or 1h30m. It is never negative.
type Duration = strictyaml.Duration

// DecodeFile decodes another YAML file of a program into the value that into points to, as
// strictly as a configuration: one document of at most 1 MiB without unknown keys, and all
// problems at once with their positions. There are no references and no environment. It
// is for files that belong to the program and not to the configuration of a host.
func DecodeFile(path string, into any) error {
	var d strictyaml.Decoder
	content, err := readFile(path, strictyaml.MaxFile)
	if err != nil {
		d.Problems.Add(Position{File: path}, "", err.Error())
		return d.Problems.Err()
	}
	if root := strictyaml.Parse(path, content, &d.Problems); root != nil {
		d.Decode(into, root, "")
	}
	return d.Problems.Err()
}

// Join combines the errors of several decodes and checks into one [Errors], sorted and
// without repeats, or nil if there are none. An error that is neither an [*Error] nor
// [Errors] keeps its text and has no position.
func Join(errs ...error) error { return strictyaml.Join(errs...) }

// Hint returns the end of a message about an unknown name, for packages with names of
// their own: the nearest known name, or all known names if none is close.
func Hint(name string, known []string) string { return strictyaml.Hint(name, known) }
