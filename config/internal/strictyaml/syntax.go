package strictyaml

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// syntaxError returns where a document stops being YAML, and why. For a quote or a bracket
// that is never closed that is where it was opened.
func syntaxError(content []byte, err error) (at Position, message string) {
	var e *yaml.LoadError
	if !errors.As(err, &e) || e.Mark.Line == 0 {
		return Position{Line: 1, Column: 1}, err.Error()
	}
	mark, message := e.Mark, e.Message
	inFlow := strings.HasPrefix(e.ContextMsg, "while parsing a flow")
	last := position(content, max(0, len(bytes.TrimRight(content, " \t\r\n"))-1))
	text := line(content, mark.Line)
	switch {
	case e.ContextMsg == "while scanning a quoted scalar" && strings.HasPrefix(message, "found unexpected"):
		mark, message = e.ContextMark, "a quote is not closed"
	case inFlow && mark.Line > last.Line:
		mark, message = e.ContextMark, "a { or [ is not closed"
		if mark.Line > last.Line { // a value was expected, and nothing follows
			return last, message
		}
	case inFlow && strings.Contains(text, "${"):
		message += " (inside { } and [ ], a reference needs quotes)"
	case strings.HasPrefix(message, "found character that cannot start") && strings.HasPrefix(text[min(mark.Column-1, len(text)):], "\t"):
		message = "a tab cannot indent YAML: use spaces"
	}
	return Position{Line: mark.Line, Column: mark.Column}, message
}

// line returns the n-th line of content, from 1; empty if there is none.
func line(content []byte, n int) string {
	for text := range bytes.Lines(content) {
		if n--; n == 0 {
			return string(bytes.TrimRight(text, "\r\n"))
		}
	}
	return ""
}

// unreadable finds the first character that no YAML document has, whose position the
// parser does not give. The problem is empty if there is none.
func unreadable(content []byte) (at Position, problem string) {
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return position(content, i), "is not UTF-8"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == '\uFFFE', r == '\uFFFF':
			return position(content, i), "is not YAML: control characters are not allowed"
		}
		i += size
	}
	return Position{}, ""
}

// position is line and column of an offset.
func position(content []byte, offset int) Position {
	before := content[:offset]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return Position{Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1}
}
