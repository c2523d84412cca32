package setup

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/otelconf"
)

// The schema is the published one, to the byte.
func TestSchemaIsThePublishedOne(t *testing.T) {
	const v1 = "3c6904ba99aa5e65798301c0a5412521beac5bb534316fc270b5c61051f1eb7f"
	if sum := sha256.Sum256(published); hex.EncodeToString(sum[:]) != v1 {
		t.Errorf("the digest is %x; after an update, fit and TestSchemaIsWhatOtelconfReads say what has changed", sum)
	}
}

// Whatever the fitted schema allows, otelconf reads, and the other way round: a key
// that only the schema has would do nothing.
func TestSchemaIsWhatOtelconfReads(t *testing.T) {
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	c := comparison{t, s.doc, map[string]bool{}}
	c.compare(s.doc, reflect.TypeFor[otelconf.OpenTelemetryConfiguration](), "telemetry")
	if len(c.seen) < 50 {
		t.Errorf("only %d objects of the schema were reached", len(c.seen))
	}
}

type comparison struct {
	t    *testing.T
	doc  map[string]any
	seen map[string]bool
}

func (c *comparison) compare(def map[string]any, goType reflect.Type, path string) {
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	if ref, ok := def["$ref"].(string); ok {
		if c.seen[ref] {
			return
		}
		c.seen[ref] = true
		def = c.doc["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if items, ok := def["items"].(map[string]any); ok && goType.Kind() == reflect.Slice {
		c.compare(items, goType.Elem(), path+"[]")
	}
	if goType.Kind() != reflect.Struct {
		if len(propertiesOf(def)) > 0 {
			c.t.Errorf("%s has properties, and is a %s for otelconf", path, goType)
		}
		return
	}
	fields := map[string]reflect.Type{}
	for f := range goType.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	for name, property := range propertiesOf(def) {
		field, ok := fields[name]
		delete(fields, name)
		switch {
		case !ok && goType == reflect.TypeFor[otelconf.PullMetricExporter](), name == "pull": // ours
		case !ok:
			c.t.Errorf("%s.%s: otelconf does not read it", path, name)
		default:
			c.compare(property.(map[string]any), field, path+"."+name)
		}
	}
	for name := range fields {
		c.t.Errorf("%s.%s: otelconf reads it, and the schema refuses it", path, name)
	}
}

func BenchmarkSchema(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compile(); err != nil {
			b.Fatal(err)
		}
	}
}
