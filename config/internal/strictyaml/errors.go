package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxErrors bounds the problems that one load reports. A file of a megabyte can contain a
// hundred thousand, more than anyone reads.
const MaxErrors = 200

// Position locates a piece of configuration. The zero value is unknown.
type Position struct {
	File   string // path of the file as it was given; or "env NAME", "flag --set PATH"
	Line   int    // from 1, or 0 if the source has no lines
	Column int    // from 1, in characters; 0 if unknown
}

// String returns file:line:column, as far as known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error reports one problem in the configuration. Its message never contains a value from
// the environment or from a reference, nor a secret.
type Error struct {
	Pos     Position
	Path    string // such as stores.default.pipeline[3].cache.ttl; empty means the whole file
	Message string
}

// Error returns "position: path: message", without unknown parts.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Pos.String(), e.Path, e.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Errors collects all problems of one load or one decode, in the order of the file, then
// those of the environment, then those of the flags.
type Errors []*Error

// Error returns one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single [*Error].
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// FieldError reports a Validate method's error about one field; join several with
// [errors.Join]. [Node.Decode] adds the position.
//
// A package that may not import this one returns an error of its own with a method
// ConfigPath() string, which has the same meaning.
type FieldError struct {
	Path    string // relative to the validated struct: "max_bytes", "tenants[2].rate"
	Message string // without the path, and without the value
}

// Error returns "path: message".
func (e *FieldError) Error() string { return e.Path + ": " + e.Message }

// ConfigPath returns e.Path.
func (e *FieldError) ConfigPath() string { return e.Path }

// Join combines the errors of several decodes and checks into one [Errors], sorted and
// without repeats, or nil if there are none. An error that is neither an [*Error] nor
// [Errors] keeps its text and has no position.
func Join(errs ...error) error {
	var p Problems
	for _, err := range errs {
		p.Take(err)
	}
	return p.Err()
}

// Problems collects errors. The zero value is ready.
type Problems struct {
	list Errors
	seen map[Error]bool
	more int // beyond maxErrors
}

// Add collects a problem. It ignores repeats, and only counts problems beyond
// [MaxErrors].
func (p *Problems) Add(pos Position, path, message string) {
	e := Error{Pos: pos, Path: path, Message: message}
	if p.seen[e] {
		return
	}
	if p.full() {
		p.more++
		return
	}
	if p.seen == nil {
		p.seen = make(map[Error]bool)
	}
	p.seen[e] = true
	p.list = append(p.list, &e)
}

// Len returns the number of problems so far.
func (p *Problems) Len() int { return len(p.list) }

func (p *Problems) full() bool { return len(p.list) >= MaxErrors }

// Addf adds a problem like Add, with a message formatted as by fmt.Sprintf.
func (p *Problems) Addf(pos Position, path, format string, args ...any) {
	p.Add(pos, path, fmt.Sprintf(format, args...))
}

// Take adds the problems in err. It drops text that was put around them with %w: position
// and path say more.
func (p *Problems) Take(err error) {
	switch e := err.(type) {
	case nil:
	case Errors:
		for _, one := range e {
			p.Take(one)
		}
	case *Error:
		p.Add(e.Pos, e.Path, e.Message)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			p.Take(one)
		}
	default:
		var many Errors
		var one *Error
		switch {
		case errors.As(err, &many):
			p.Take(many)
		case errors.As(err, &one):
			p.Take(one)
		default:
			p.Add(Position{}, "", err.Error())
		}
	}
}

// Err returns the problems in order as [Errors], or nil if there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	out := slices.Clone(p.list)
	slices.SortStableFunc(out, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.rank(), b.Pos.rank()),
			strings.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
			strings.Compare(a.Path, b.Path),
		)
	})
	if p.more > 0 {
		out = append(out, &Error{Message: fmt.Sprintf("%d more errors are not shown", p.more)})
	}
	return out
}

// rank puts files before sources without lines.
func (p Position) rank() int {
	if p.Line > 0 {
		return 0
	}
	return 1
}
