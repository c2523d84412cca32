package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/otelconf"

	"github.com/plinthkv/plinth/config"
)

// parsed is the section, taken apart into what otelconf does and what is ours.
type parsed struct {
	config         otelconf.OpenTelemetryConfiguration
	prometheus     *prometheusExporter // nil: no page
	prometheusPath string
}

func (p *parsed) disabled() bool { return p.config.Disabled != nil && *p.config.Disabled }

// Validate checks the section telemetry and starts nothing. All errors come at
// once, each with its position.
func Validate(section *config.Node) error {
	_, err := parse(section)
	return err
}

func parse(section *config.Node) (*parsed, error) {
	if section.IsEmpty() {
		return &parsed{prometheus: &prometheusExporter{}}, nil
	}
	raw, err := section.JSON()
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var root any
	if err := dec.Decode(&root); err != nil {
		return nil, section.Errorf("", "%v", err)
	}
	mapping, ok := root.(map[string]any)
	if !ok {
		return nil, section.Errorf("", "%v", errNoMapping)
	}
	p, v := &parsed{}, &validator{section: section}
	p.takePrometheus(mapping, v)
	v.value(reflect.TypeFor[otelconf.OpenTelemetryConfiguration](), mapping, "")
	if err := config.Join(v.errs...); err != nil {
		return nil, err
	}
	if err := decodeInto(mapping, &p.config); err != nil {
		return nil, section.Errorf("", "%s", oneLine(err))
	}
	if major, _, _ := strings.Cut(p.config.FileFormat, "."); major != "1" {
		return nil, section.Errorf("file_format", "is %q, this version understands \"1.0\"", p.config.FileFormat)
	}
	return p, nil
}

// takePrometheus takes the pull reader out of root: otelconf would open a port of
// its own for it, and has it only among its experiments. Without meter_provider
// there is the page all the same.
func (p *parsed) takePrometheus(root map[string]any, v *validator) {
	meter, ok := root["meter_provider"].(map[string]any)
	if !ok {
		p.prometheus = &prometheusExporter{}
		root["meter_provider"] = map[string]any{"readers": []any{}}
		return
	}
	readers, _ := meter["readers"].([]any)
	var rest []any
	for i, reader := range readers {
		r, _ := reader.(map[string]any)
		pull, ours := r["pull"]
		if !ours || len(r) > 1 {
			rest = append(rest, reader)
			continue
		}
		path := fmt.Sprintf("meter_provider.readers[%d].pull", i)
		if p.prometheus != nil {
			v.errorf(path, "is the second one: there is one page for Prometheus, at /metrics")
			continue
		}
		p.prometheus, p.prometheusPath = &prometheusExporter{}, path
		var own pullReader
		if v.value(reflect.TypeFor[pullReader](), pull, path) && decodeInto(pull, &own) == nil {
			p.prometheus = &own.Exporter.Prometheus
			what, _ := pull.(map[string]any)
			exporter, _ := what["exporter"].(map[string]any)
			if _, ok := exporter["prometheus/development"]; !ok {
				v.errorf(path, "has no exporter: there is prometheus/development")
			}
			if err := p.prometheus.validate(); err != nil {
				v.errorf(path+".exporter", "%v", err)
			}
		}
		rest = append(rest, taken{}) // the others keep their places, for their errors
	}
	if p.prometheus == nil {
		return
	}
	meter["readers"] = rest
	v.after = func() {
		meter["readers"] = slices.DeleteFunc(rest, func(r any) bool { return r == taken{} })
	}
}

// taken stands where a reader was that otelconf does not get.
type taken struct{}

// validator compares a value with the type that it is decoded into, key by key:
// the types are made of OpenTelemetry's own schema.
type validator struct {
	section *config.Node
	errs    []error
	after   func() // what is left to do once all has been looked at
}

func (v *validator) errorf(path, format string, args ...any) {
	v.errs = append(v.errs, v.section.Errorf(path, format, args...))
}

// value tells whether what stands at path can be a t. What is inside is looked at
// first, so that an error is told where it is and not around it.
func (v *validator) value(t reflect.Type, value any, path string) bool {
	if value == (taken{}) {
		return true
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	well := true
	switch t.Kind() {
	case reflect.Struct:
		well = v.structure(t, value, path)
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok && value != nil {
			v.errorf(path, "must be a list")
			return false
		}
		for i, item := range list {
			well = v.value(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i)) && well
		}
	case reflect.Map:
		if m, _ := value.(map[string]any); len(m) > 0 && t.Elem().Kind() == reflect.Interface { // as always_on: the schema has nothing in it
			v.errorf(path, "takes no settings")
			return false
		}
	}
	if path == "" && v.after != nil {
		v.after()
	}
	if !well || value == nil {
		return well
	}
	if err := decodeInto(value, reflect.New(t).Interface()); err != nil {
		v.errorf(path, "%s", oneLine(err))
		return false
	}
	return true
}

func (v *validator) structure(t reflect.Type, value any, path string) bool {
	if value == nil {
		return true
	}
	mapping, ok := value.(map[string]any)
	if !ok {
		v.errorf(path, "must be a mapping")
		return false
	}
	fields := map[string]reflect.Type{}
	var known []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = f.Type
			known = append(known, name)
		}
	}
	well := true
	for _, name := range slices.Sorted(maps.Keys(mapping)) {
		inner, at := mapping[name], name
		if path != "" {
			at = path + "." + name
		}
		ft, ok := fields[name]
		if !ok {
			v.errorf(at, "unknown key %q%s", name, config.Hint(name, known))
			well = false
			continue
		}
		well = v.value(ft, inner, at) && well
	}
	if well && len(mapping) != 1 && slices.Contains(choices, t) {
		v.errorf(path, "takes exactly one of %s", strings.Join(known, ", "))
		return false
	}
	return well
}

// choices are the types of which the schema wants one property, and otelconf finds
// out only when it starts.
var choices = []reflect.Type{reflect.TypeFor[otelconf.SpanExporter](), reflect.TypeFor[otelconf.LogRecordExporter](),
	reflect.TypeFor[otelconf.PushMetricExporter](), reflect.TypeFor[otelconf.MetricReader](), reflect.TypeFor[otelconf.SpanProcessor](),
	reflect.TypeFor[otelconf.LogRecordProcessor](), reflect.TypeFor[otelconf.Sampler]()}

// What otelconf's and encoding/json's errors say of Go, for who writes YAML.
var (
	typeName  = regexp.MustCompile(`unmarshaling error in \S+\s*`)
	required  = regexp.MustCompile(`field (\S+) in \S+: required`)
	wrongType = regexp.MustCompile(`cannot unmarshal (\w+) into Go (?:value|struct field \S+) of type (\S+)`)
)

var typesInYAML = map[string]string{"int": "a whole number", "float64": "a number", "bool": "true or false", "string": "text (a number needs quotes)"}

// oneLine is such an error without Go's terms.
func oneLine(err error) string {
	text := typeName.ReplaceAllString(err.Error(), "")
	text = required.ReplaceAllString(text, "$1 is missing")
	if m := wrongType.FindStringSubmatch(text); m != nil {
		if want, ok := typesInYAML[m[2]]; ok {
			return "must be " + want + ", not a " + m[1]
		}
	}
	text = strings.ReplaceAll(text, "\n", ": ")
	return strings.TrimSuffix(strings.TrimPrefix(text, "json: "), ": ")
}
