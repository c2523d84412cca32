package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxErrors is how many problems one load reports. A file of a megabyte can hold
// a hundred thousand of them, and nobody reads those.
const MaxErrors = 200

// Position is where a piece of configuration was written. The zero value:
// nowhere that is known.
type Position struct {
	File   string // path of the file as it was given; or "env NAME", "flag --set PATH"
	Line   int    // from 1; 0: the source has no lines
	Column int    // from 1, in characters; 0: not known
}

// String is file:line:column, as far as known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one problem in the configuration. Its message never holds a value
// that came from the environment or from a reference, nor a secret.
type Error struct {
	Pos     Position
	Path    string // such as stores.default.pipeline[3].cache.ttl; empty: the whole file
	Message string
}

// Error is "position: path: message", without the parts that are not known.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Pos.String(), e.Path, e.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Errors are all problems of one load or of one decode, in the order of the file,
// then those of the environment, then those of the flags.
type Errors []*Error

// Error has a line per problem.
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

// FieldError is what a Validate method returns about one field; several of them
// go through [errors.Join]. [Node.Decode] adds the position.
//
// A package that may not import this one returns an error of its own that has a
// method ConfigPath() string, which means the same.
type FieldError struct {
	Path    string // relative to the validated struct: "max_bytes", "tenants[2].rate"
	Message string // without the path, and without the value
}

// Error is "path: message".
func (e *FieldError) Error() string { return e.Path + ": " + e.Message }

// ConfigPath is e.Path.
func (e *FieldError) ConfigPath() string { return e.Path }

// Join gathers what several decodes and checks found into one [Errors], sorted
// and without repeats; nil errors are left out. It is nil if nothing remains. An
// error that is neither an [*Error] nor [Errors] is kept with its text and no
// position.
func Join(errs ...error) error {
	var p Problems
	for _, err := range errs {
		p.Take(err)
	}
	return p.Err()
}

// Problems collects errors while the work goes on. The zero value is ready.
type Problems struct {
	list Errors
	seen map[Error]bool
	more int // beyond maxErrors
}

// Add collects a problem. One that is known already is left out, and so is what is
// beyond [MaxErrors], but for its number.
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

// Len returns how many problems are collected so far.
func (p *Problems) Len() int { return len(p.list) }

func (p *Problems) full() bool { return len(p.list) >= MaxErrors }

// Addf is Add with a message as fmt.Sprintf has it.
func (p *Problems) Addf(pos Position, path, format string, args ...any) {
	p.Add(pos, path, fmt.Sprintf(format, args...))
}

// Take adds what another collector found. Text that somebody put around it with
// %w is dropped: position and path say more.
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

// Err returns the problems in order as [Errors], nil if there are none.
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
