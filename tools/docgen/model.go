package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/wrappers"
)

const module = "github.com/plinthkv/plinth"

// kind is how a value is written in YAML.
type kind string

const (
	text     kind = "string"
	boolean  kind = "boolean"
	integer  kind = "integer"
	number   kind = "number"
	size     kind = "size"
	duration kind = "duration"
	list     kind = "list"
	names    kind = "mapping" // of names to values
	object   kind = "object"  // with the fields of a struct
	stage    kind = "stage"
	anything kind = "any"
)

// described is a value: its kind, and what it is made of.
type described struct {
	kind    kind
	def     string // the default, or "" if it is not worth a word
	name    string // of a struct's type
	doc     string // of a struct's type
	fields  []field
	element *described // of lists and mappings
}

type field struct {
	name, doc string
	secret    bool // it is not shown
	described
}

// plugin is a built-in one.
type plugin struct {
	name   string
	config described
}

// wrapper is a kind of stage.
type wrapper struct {
	kind, doc   string // the package's comment
	declaration wrappers.Declaration
	config      described
}

// carrier is a kind of plugin.
type carrier struct {
	host.PluginKind
	config described
}

// carried returns the kinds of plugins; two with the same settings are one.
func (m *model) carried() []carrier {
	var kinds []carrier
	for _, k := range host.PluginSettings() {
		if slices.ContainsFunc(kinds, func(c carrier) bool { return reflect.TypeOf(c.Defaults) == reflect.TypeOf(k.Defaults) }) {
			continue
		}
		kinds = append(kinds, carrier{k, m.describe(reflect.ValueOf(k.Defaults), "yaml")})
	}
	return kinds
}

// comments maps the comments of one package: "Type" and "Type.Field"; "" is its own.
type comments map[string]string

// model describes Go values with their comments.
type model struct {
	root     string
	comments map[string]comments // by package path
	err      error
}

func (m *model) wrapper(f wrappers.Factory) wrapper {
	v := reflect.ValueOf(f.Defaults())
	return wrapper{kind: f.Kind(), doc: m.of(v.Type().PkgPath())[""], declaration: f.Declaration(), config: m.describe(v, "yaml")}
}

// describe describes v, whose fields go by the names in the tag.
func (m *model) describe(v reflect.Value, tag string) described {
	t := v.Type()
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[config.Duration](), reflect.TypeFor[sdk.Duration]():
		return described{kind: duration, def: shortDuration(time.Duration(v.Int()))}
	case reflect.TypeFor[ledger.Duration]():
		return described{kind: duration, def: v.String()}
	case reflect.TypeFor[config.Bytes](), reflect.TypeFor[sdk.Size]():
		return described{kind: size, def: shortSize(v.Int())}
	case reflect.TypeFor[*config.Node]():
		return described{kind: anything}
	case reflect.TypeFor[*secret.Value]():
		return described{kind: text}
	case reflect.TypeFor[config.Stage]():
		return described{kind: stage}
	}
	switch t.Kind() {
	case reflect.String:
		def := ""
		if v.String() != "" {
			def = fmt.Sprintf("%q", v.String())
		}
		return described{kind: text, def: def}
	case reflect.Bool:
		return described{kind: boolean, def: fmt.Sprint(v.Bool())}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return described{kind: integer, def: fmt.Sprint(v.Interface())}
	case reflect.Float64:
		return described{kind: number, def: fmt.Sprint(v.Interface())}
	case reflect.Slice:
		element := m.describe(reflect.Zero(t.Elem()), tag)
		return described{kind: list, element: &element}
	case reflect.Map:
		element := m.describe(reflect.Zero(t.Elem()), tag)
		return described{kind: names, element: &element}
	case reflect.Struct:
		return m.object(v, tag)
	}
	m.err = fmt.Errorf("%s has no form in a configuration", t)
	return described{}
}

func (m *model) object(v reflect.Value, tag string) described {
	t := v.Type()
	said := m.of(t.PkgPath())
	d := described{kind: object, name: t.Name(), doc: said[t.Name()]}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get(tag), ",")
		switch {
		case options == "inline":
			d.fields = append(d.fields, m.object(v.Field(i), tag).fields...)
			continue
		case !f.IsExported() || name == "" || name == "-":
			continue
		}
		one := field{name: name, doc: inYAML(t, tag, said[t.Name()+"."+f.Name]), secret: f.Tag.Get("secret") == "true", described: m.describe(v.Field(i), tag)}
		if options == "bytes" {
			one.kind, one.def = size, shortSize(v.Field(i).Convert(reflect.TypeFor[int64]()).Int())
		}
		d.fields = append(d.fields, one)
	}
	return d
}

// inYAML returns a comment of a field of t with the names that YAML has for its fields.
func inYAML(t reflect.Type, tag, doc string) string {
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" {
			doc = regexp.MustCompile(`\b`+f.Name+`\b`).ReplaceAllString(doc, "`"+name+"`")
		}
	}
	return doc
}

// of returns the comments of a package.
func (m *model) of(path string) comments {
	if have, ok := m.comments[path]; ok {
		return have
	}
	c := comments{}
	m.comments[path] = c
	files, err := filepath.Glob(filepath.Join(m.root, filepath.FromSlash(strings.TrimPrefix(path, module)), "*.go"))
	if err != nil {
		m.err = err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			m.err = err
			return c
		}
		if parsed.Doc != nil {
			c[""] = parsed.Doc.Text()
		}
		for _, decl := range parsed.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				c.add(g)
			}
		}
	}
	return c
}

func (c comments) add(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		doc := t.Doc
		if doc == nil {
			doc = g.Doc
		}
		c[t.Name.Name] = without(t.Name.Name, line(doc))
		s, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				said := without(name.Name, line(f.Doc))
				if said == "" {
					said = line(f.Comment)
				}
				c[t.Name.Name+"."+name.Name] = said
			}
		}
	}
}

// without returns a comment of Go as a page has it: without the name that it begins with,
// and without "is" after that.
func without(name, doc string) string {
	said, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return doc
	}
	for _, verb := range []string{"is ", "are "} {
		if after, ok := strings.CutPrefix(said, verb); ok {
			return after
		}
	}
	return said
}

// line returns a comment as one line.
func line(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	return strings.Join(strings.Fields(g.Text()), " ")
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func shortSize(n int64) string {
	for _, u := range []struct {
		unit string
		n    int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n > 0 && n%u.n == 0 {
			return fmt.Sprintf("%d%s", n/u.n, u.unit)
		}
	}
	return fmt.Sprint(n)
}
