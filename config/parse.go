package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 1 << 20
	maxDepth = 32
	maxKey   = 128 // bytes; the path of an error is made of keys
)

// parse reads one YAML document into a tree. The root is nil if there is nothing
// in it, or if it is not YAML at all; everything that is wrong goes to p.
func parse(name string, content []byte, p *problems) *value {
	if len(content) > maxFile {
		p.addf(Position{File: name}, "", "is larger than %d bytes, the most that a configuration may have", maxFile)
		return nil
	}
	if at := invalidUTF8(content); at >= 0 {
		p.add(position(name, content, at), "", "is not UTF-8")
		return nil
	}
	docs, err := readYAML(bytes.NewReader(content), 2)
	if err != nil {
		p.add(syntaxPosition(name, content, err))
		return nil
	}
	if len(docs) == 0 {
		return nil
	}
	if len(docs) > 1 {
		at := Position{File: name, Line: docs[1].Line, Column: docs[1].Column}
		p.add(at, "", "has a second YAML document: a configuration is one")
		return nil
	}
	t := tree{file: name, problems: p}
	at := t.at(docs[0])
	root := t.value(docs[0].Content[0], at, "", 0)
	if root.kind == null {
		return nil
	}
	return root
}

// readYAML reads up to most documents. The parser is known to panic on some
// broken input; here that is one more way to say no.
func readYAML(r io.Reader, most int) (docs []*yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			docs, err = nil, errors.New("yaml: cannot be parsed")
		}
	}()
	d := yaml.NewDecoder(r)
	for len(docs) < most {
		doc := new(yaml.Node)
		err := d.Decode(doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// tree turns YAML nodes into values.
type tree struct {
	file     string
	problems *problems
}

func (t *tree) at(n *yaml.Node) Position {
	return Position{File: t.file, Line: n.Line, Column: n.Column}
}

func (t *tree) value(n *yaml.Node, key Position, path string, depth int) *value {
	v := &value{key: key, pos: t.at(n)}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		t.problems.add(t.at(n), path, "anchors and aliases are not supported: write the value out")
		v.broken = true
	case n.Style&yaml.TaggedStyle != 0:
		t.problems.addf(t.at(n), path, "YAML tags such as %s are not supported", clip(n.Tag))
		v.broken = true
	case depth > maxDepth:
		t.problems.addf(t.at(n), path, "is nested deeper than %d levels", maxDepth)
		v.broken = true
	}
	if v.broken {
		v.kind = scalar
		return v
	}
	switch n.Kind {
	case yaml.MappingNode:
		v.kind = mapping
		t.entries(v, n.Content, path, depth)
	case yaml.SequenceNode:
		v.kind = list
		for i, item := range n.Content {
			v.items = append(v.items, t.value(item, t.at(item), index(path, i), depth+1))
		}
	default:
		v.kind = scalar
		v.text, v.data = n.Value, n.Value
		v.plain = n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if v.plain && coreType(n.Value) == coreNull {
			v.kind = null
		}
	}
	return v
}

func (t *tree) entries(v *value, content []*yaml.Node, path string, depth int) {
	lines := make(map[string]int, len(content)/2)
	for i := 0; i+1 < len(content); i += 2 {
		key, at := content[i], t.at(content[i])
		problem := ""
		switch {
		case key.Kind == yaml.AliasNode || key.Anchor != "":
			problem = "anchors and aliases are not supported: write the key out"
		case key.Kind != yaml.ScalarNode:
			problem = "a key must be a plain name"
		case key.Tag == "!!merge":
			problem = "merge keys are not supported: write the keys out"
		case key.Style&yaml.TaggedStyle != 0:
			problem = fmt.Sprintf("YAML tags such as %s are not supported", clip(key.Tag))
		case key.Value == "":
			problem = "a key is empty"
		case len(key.Value) > maxKey:
			problem = fmt.Sprintf("a key is longer than %d bytes", maxKey)
		case strings.ContainsFunc(key.Value, unicode.IsControl):
			problem = "a key holds a control character"
		case lines[key.Value] != 0:
			t.problems.addf(at, join(path, key.Value), "repeated key: it stands on line %d already", lines[key.Value])
			continue
		}
		if problem != "" {
			t.problems.add(at, path, problem)
			continue
		}
		lines[key.Value] = at.Line
		child := t.value(content[i+1], at, join(path, key.Value), depth+1)
		v.entries = append(v.entries, entry{name: key.Value, at: at, value: child})
	}
}

func invalidUTF8(content []byte) int {
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// position is line and column of an offset.
func position(name string, content []byte, offset int) Position {
	before := content[:offset]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return Position{File: name, Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1}
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxPosition finds where a document stops to be YAML. The parser names the
// start of the construct it was in, which may be far above, so the document is
// fed to it again byte by byte: how much it took when it gave up shows the line.
// Only for a quote or bracket that is never closed is its start the better place.
func syntaxPosition(name string, content []byte, err error) (at Position, path, message string) {
	const end = "\n...\n\n\n\n\n\n\n\n\n" // what is still open here is not going to be closed
	drip := &dripReader{rest: slices.Concat(content, []byte(end))}
	_, again := readYAML(drip, 2)
	if again == nil {
		again = err
	}
	message = again.Error()
	line := 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	message = strings.TrimPrefix(message, "yaml: ")
	taken := len(content) + len(end) - len(drip.rest)
	switch {
	case strings.Contains(message, "unexpected document indicator"):
		message = "a quote is not closed"
	case taken > len(content)+1 && (strings.HasPrefix(message, "did not find expected ','") || strings.HasSuffix(message, "expected node content")):
		message = "a { or [ is not closed"
		line++ // the parser counts from 0, the scanner from 1
	default:
		line = bytes.Count(bytes.TrimRight(content[:min(taken, len(content))], " \t\r\n"), []byte("\n")) + 1
	}
	lines := bytes.Split(content, []byte("\n"))
	if line > len(lines) {
		line = 1 // what began on the first line counts as having no line, and gets the last
	}
	text := lines[line-1]
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	at = Position{File: name, Line: line, Column: len(indent) + 1}
	switch {
	case bytes.IndexByte(indent, '\t') >= 0:
		at.Column = bytes.IndexByte(indent, '\t') + 1
		message = "a tab cannot indent YAML: use spaces"
	case bytes.Contains(text, []byte("${")) && bytes.ContainsAny(text, "[{"):
		message += " (inside { } and [ ], a reference needs quotes)"
	}
	return at, "", "is not YAML: " + message
}

// dripReader hands out one byte at a time.
type dripReader struct{ rest []byte }

func (r *dripReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0], r.rest = r.rest[0], r.rest[1:]
	return 1, nil
}
