package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// Limits of a document.
const (
	MaxFile  = 1 << 20 // bytes
	MaxDepth = 32      // levels of mappings and lists
	MaxKey   = 128     // bytes of a key; the path of an error is made of keys
)

// Parse reads one YAML document; errors use name as its name. It returns nil if the
// document is empty or not YAML at all; problems go to p.
func Parse(name string, content []byte, p *Problems) *Value {
	if len(content) > MaxFile {
		p.Addf(Position{File: name}, "", "is larger than %d bytes, the most that a configuration may have", MaxFile)
		return nil
	}
	if at, problem := unreadable(content); problem != "" {
		at.File = name
		p.Add(at, "", problem)
		return nil
	}
	docs, err := documents(content, 2)
	if err != nil {
		at, message := syntaxError(content, err)
		at.File = name
		p.Add(at, "", "is not YAML: "+message)
		return nil
	}
	if len(docs) == 0 {
		return nil
	}
	if len(docs) > 1 {
		at := Position{File: name, Line: docs[1].Line, Column: docs[1].Column}
		p.Add(at, "", "contains a second YAML document: a configuration must be a single document")
		return nil
	}
	t := tree{file: name, problems: p}
	at := t.at(docs[0])
	root := t.value(docs[0].Content[0], at, "", 0)
	if root.Kind == Null {
		return nil
	}
	return root
}

// documents reads up to most documents. A panic of the parser, should there be one,
// is one more way to say no.
func documents(content []byte, most int) (docs []*yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			docs, err = nil, errors.New("cannot be parsed")
		}
	}()
	l, err := yaml.NewLoader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	for len(docs) < most {
		doc := new(yaml.Node)
		err := l.Load(doc)
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
	problems *Problems
}

func (t *tree) at(n *yaml.Node) Position {
	return Position{File: t.file, Line: n.Line, Column: n.Column}
}

func (t *tree) value(n *yaml.Node, key Position, path string, depth int) *Value {
	v := &Value{Key: key, Pos: t.at(n)}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		t.problems.Add(t.at(n), path, "anchors and aliases are not supported: write the value out")
		v.Broken = true
	case n.Style&yaml.TaggedStyle != 0:
		t.problems.Addf(t.at(n), path, "YAML tags such as %s are not supported", Clip(n.Tag))
		v.Broken = true
	case depth > MaxDepth:
		t.problems.Addf(t.at(n), path, "is nested deeper than %d levels", MaxDepth)
		v.Broken = true
	}
	if v.Broken {
		v.Kind = Scalar
		return v
	}
	switch n.Kind {
	case yaml.MappingNode:
		v.Kind = Mapping
		t.entries(v, n.Content, path, depth)
	case yaml.SequenceNode:
		v.Kind = List
		for i, item := range n.Content {
			v.Items = append(v.Items, t.value(item, t.at(item), Item(path, i), depth+1))
		}
	default:
		v.Kind = Scalar
		v.Text, v.data = n.Value, n.Value
		v.Plain = n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if v.Plain && coreType(n.Value) == coreNull {
			v.Kind = Null
		}
	}
	return v
}

func (t *tree) entries(v *Value, content []*yaml.Node, path string, depth int) {
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
			problem = fmt.Sprintf("YAML tags such as %s are not supported", Clip(key.Tag))
		case key.Value == "":
			problem = "a key is empty"
		case len(key.Value) > MaxKey:
			problem = fmt.Sprintf("a key is longer than %d bytes", MaxKey)
		case strings.ContainsFunc(key.Value, unicode.IsControl):
			problem = "a key holds a control character"
		case lines[key.Value] != 0:
			t.problems.Addf(at, Key(path, key.Value), "duplicate key, already on line %d", lines[key.Value])
			continue
		}
		if problem != "" {
			t.problems.Add(at, path, problem)
			continue
		}
		lines[key.Value] = at.Line
		child := t.value(content[i+1], at, Key(path, key.Value), depth+1)
		v.Entries = append(v.Entries, Entry{Name: key.Value, At: at, Value: child})
	}
}
