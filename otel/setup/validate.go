package setup

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/plinthkv/plinth/config"
)

// validate compares the section, whose value is root, with the schema.
func (s *schema) validate(section *config.Node, root map[string]any) error {
	err := s.compiled.Validate(root)
	var invalid *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &invalid):
		return section.Errorf("", "%v", err)
	}
	v := violations{schema: s, section: section, root: root}
	v.add(invalid)
	return config.Join(v.errs...)
}

// violations lists what is wrong with a section by the schema, in the terms of the YAML's
// author.
type violations struct {
	schema  *schema
	section *config.Node
	root    any
	errs    []error
}

func (v *violations) errorf(path, format string, args ...any) {
	v.errs = append(v.errs, v.section.Errorf(path, format, args...))
}

func (v *violations) add(e *jsonschema.ValidationError) {
	path := v.path(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			v.add(cause)
		}
	case *kind.OneOf:
		v.oneOf(e, path)
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			v.errorf(v.path(append(slices.Clone(e.InstanceLocation), name)), "unknown key %q%s", name, config.Hint(name, v.known(e.SchemaURL)))
		}
	case *kind.Required:
		v.errorf(path, "%s is missing", strings.Join(k.Missing, ", "))
	case *kind.MinProperties, *kind.MaxProperties:
		if known := v.known(e.SchemaURL); len(known) > 0 {
			v.errorf(path, "takes exactly one of %s", strings.Join(known, ", "))
		} else {
			v.errorf(path, "must not be empty")
		}
	case *kind.Type:
		v.errorf(path, "must be %s, not %s", wanted(k.Want), got[k.Got])
	case *kind.Enum:
		v.errorf(path, "must be one of %s", words(k.Want))
	case *kind.MinItems: // of which OpenTelemetry has only those of one
		v.errorf(path, "must not be empty")
	case *kind.Minimum:
		v.errorf(path, "must be at least %s", k.Want.RatString())
	case *kind.ExclusiveMinimum:
		v.errorf(path, "must be more than %s", k.Want.RatString())
	case *kind.Maximum:
		v.errorf(path, "must be at most %s", k.Want.RatString())
	default:
		v.errorf(path, "%s", e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	}
}

// oneOf reports that a value is none of several types or, if it is a list of the wrong
// things, what is wrong with it as the list that it is nearest to.
func (v *violations) oneOf(e *jsonschema.ValidationError, path string) {
	var types []string
	var nearest *jsonschema.ValidationError
	for _, cause := range e.Causes {
		k, ok := cause.ErrorKind.(*kind.Type)
		switch {
		case ok && len(cause.InstanceLocation) == len(e.InstanceLocation):
			types = append(types, k.Want...)
		case nearest == nil || leaves(cause) < leaves(nearest):
			nearest = cause
		}
	}
	if nearest != nil {
		v.add(nearest)
		return
	}
	v.errorf(path, "must be %s", wanted(types))
}

// leaves returns how many things are wrong.
func leaves(e *jsonschema.ValidationError) int {
	n := 0
	for _, cause := range e.Causes {
		n += leaves(cause)
	}
	return max(n, 1)
}

// known returns the keys that the object at a place of the schema may have.
func (v *violations) known(place string) []string {
	_, fragment, _ := strings.Cut(place, "#")
	var at any = v.schema.doc
	for token := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		token, _ = url.PathUnescape(token)
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		if object, _ := at.(map[string]any); token != "" {
			at = object[token]
		}
	}
	return slices.Sorted(maps.Keys(propertiesOf(at)))
}

// path returns a place in the section as [config.Node.Errorf] has it.
func (v *violations) path(location []string) string {
	var b strings.Builder
	at := v.root
	for _, token := range location {
		switch x := at.(type) {
		case []any:
			i, _ := strconv.Atoi(token)
			fmt.Fprintf(&b, "[%d]", i)
			at = x[i]
			continue
		case map[string]any:
			at = x[token]
		}
		if strings.ContainsAny(token, ".\"'[] ") || token == "" {
			token = strconv.Quote(token)
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	return b.String()
}

// JSON's types, for who writes YAML.
var (
	want = map[string]string{"object": "a mapping", "array": "a list", "integer": "a whole number", "number": "a number",
		"boolean": "true or false", "string": "text (a number needs quotes)"}
	got = map[string]string{"object": "a mapping", "array": "a list", "integer": "a whole number", "number": "a number",
		"boolean": "a boolean", "string": "text", "null": "nothing"}
)

// wanted names types, but for null: what may be nothing may be left out.
func wanted(types []string) string {
	var names []string
	for _, t := range types {
		if name, ok := want[t]; ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// words returns the values of an enumeration, but for null.
func words(values []any) string {
	var out []string
	for _, x := range values {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}
