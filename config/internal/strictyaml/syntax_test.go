package strictyaml

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// An error of syntax names the place that has to be changed: where a quote or a
// bracket was opened that is never closed, else the first character that cannot stand
// where it does.
func TestSyntaxErrors(t *testing.T) {
	many := "stores:\n" + strings.Repeat("  a: { backend: { plugin: memory } }\n", 249)
	for name, c := range map[string]struct{ yaml, want string }{
		"open brace":                 {"stores:\n  default: { backend: { plugin: memory }\n", "2:12: is not YAML: a { or [ is not closed"},
		"open bracket":               {"server:\n  hosts: [a, b\n", "2:10: is not YAML: a { or [ is not closed"},
		"open bracket, nothing more": {"server: [", "1:9: is not YAML: a { or [ is not closed"},
		"open bracket, a comma last": {"server: [a,\n\n", "1:11: is not YAML: a { or [ is not closed"},
		"open brace, keys follow":    {"stores:\n  a: { backend: { plugin: memory }\nserver:\n", "3:1: is not YAML: did not find expected ',' or '}'"},
		"open double quote":          {"server:\n  http: \"127.0.0.1:7421\n  token: x\n", "2:9: is not YAML: a quote is not closed"},
		"open single quote":          {"server:\n  http: '127.0.0.1:7421\n  token: x\n", "2:9: is not YAML: a quote is not closed"},
		"open quote, document ends":  {"a: \"x\n---\nb: y\n", "1:4: is not YAML: a quote is not closed"},
		"open quote, another below":  {"server:\n  http: \"127.0.0.1\n  token: \"x\"\n  grpc: \"y\"\n", "3:11: is not YAML: did not find expected key"},
		"tab":                        {"# a tab\nserver:\n\thttp: x\n", "3:1: is not YAML: a tab cannot indent YAML: use spaces"},
		"tab after spaces":           {"server:\n  tls:\n  \tcert: x\n", "3:3: is not YAML: a tab cannot indent YAML: use spaces"},
		"key not lined up":           {"server:\n  http: x\n tls: {}\n", "3:2: is not YAML: did not find expected key"},
		"key too deep":               {"server:\n  http: x\n    grpc: y\n", "3:9: is not YAML: mapping values are not allowed in this context"},
		"no colon":                   {"server:\n  http x\n  grpc: y\n", "3:7: is not YAML: mapping values are not allowed in this context"},
		"two colons":                 {"server:\n  http: a: b\n", "2:10: is not YAML: mapping values are not allowed in this context"},
		"reference in flow":          {"server:\n  tls: { cert: ${file:c} }\n", "2:17: is not YAML: did not find expected ',' or '}' (inside { } and [ ], a reference needs quotes)"},
		"no comma":                   {"server:\n  tls: { cert: \"a\" key: \"b\" }\n", "2:20: is not YAML: did not find expected ',' or '}'"},
		"closed twice":               {"server:\n  tls: { cert: a }}\n", "2:19: is not YAML: did not find expected key"},
		"closed by the other":        {"server:\n  tls: { cert: [a, b }\n", "2:22: is not YAML: did not find expected ',' or ']'"},
		"dash not lined up":          {"a:\n    require:\n    - x\n   - y\n", "4:4: is not YAML: did not find expected key"},
		"dash among keys":            {"server:\n  http: x\n  - y\n", "3:3: is not YAML: did not find expected key"},
		"reserved character":         {"server:\n  token: @x\n", "2:10: is not YAML: found character that cannot start any token"},
		"bad escape":                 {"server:\n  token: \"a\\qb\"\n", "2:12: is not YAML: found unknown escape character"},
		"unknown alias":              {"server:\n  token: *x\n", "2:10: is not YAML: unknown anchor 'x' referenced"},
		"text after a quote":         {"server:\n  http: \"a\" b\n  grpc: c\n", "2:13: is not YAML: did not find expected key"},
		"control character":          {"server:\n  token: a\x01b\n", "2:11: is not YAML: control characters are not allowed"},
		"not UTF-8":                  {"server:\n  token: ä\xe4", "2:11: is not UTF-8"},
		"columns are characters":     {"ä: { ö: \"é\" ü: 1 }\n", "1:13: is not YAML: did not find expected ',' or '}'"},
		"far down":                   {many + "   b: x\n", "251:4: is not YAML: did not find expected key"},
		"a flow without end":         {strings.Repeat("[", MaxFile), "1:10001: is not YAML: exceeded max depth of 10000"},
		"mappings without end":       {strings.Repeat("{a: ", MaxFile/4), "1:40001: is not YAML: exceeded max depth of 10000"},
		"second document":            {"a: 1\n---\nb: 1\n", "2:1: contains a second YAML document: a configuration must be a single document"},
		"a file too large":           {strings.Repeat("#", MaxFile+1), "is larger than 1048576 bytes, the most that a configuration may have"},
	} {
		var p Problems
		root := Parse("f", []byte(c.yaml), &p)
		sep := ":"
		if strings.HasPrefix(c.want, "is") {
			sep = ": "
		}
		if err := p.Err(); err == nil || err.Error() != "f"+sep+c.want {
			t.Errorf("%s: got %v\nwant f%s%s", name, err, sep, c.want)
		}
		if root != nil && name != "second document" {
			t.Errorf("%s: there is a tree", name)
		}
	}
}

// A document that is small and means much is refused, and one that is long costs memory
// in proportion to its length.
func TestBombs(t *testing.T) {
	for name, c := range map[string]struct {
		document func(n int) string
		refused  bool
	}{
		"laughs":   {func(n int) string { return "a0: &a0 x\n" + numbered(n, "a%d: &a%d [*a0, *a0]\n") }, true},
		"anchors":  {func(n int) string { return numbered(n, "a%d: &a%d x\n") }, true},
		"one key":  {func(n int) string { return strings.Repeat("a: 1\n", n) }, true},
		"items":    {func(n int) string { return "a: [" + strings.Repeat("a,", n) + "]" }, false},
		"comments": {func(n int) string { return strings.Repeat("#\n", n) + "a: 1\n" }, false},
	} {
		small, _ := cost(c.document(2_000))
		large, err := cost(c.document(20_000))
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if large > 30*small {
			t.Errorf("%s: ten times the length takes %d bytes, after %d", name, large, small)
		}
	}
}

// cost is how much memory a document allocates, which a busy machine does not change.
func cost(document string) (allocated uint64, err error) {
	var p Problems
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Parse("f", []byte(document), &p)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, p.Err()
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "%d", strconv.Itoa(i+1)))
	}
	return b.String()
}

// FuzzParse reads any document: it has a tree, or problems with positions in it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "a: 1", "a: [", "a: {b: \"", "\t", "- - -", "&a *a", "!!x y", "? a\n: b", "a: |\n x\n y", "<<: a", "%YAML 1.1\n---\n", "\ufeffa: 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var p Problems
		root := Parse("f", content, &p)
		lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(content)), "\n") // YAML 1.1 breaks lines at all of them
		err, _ := p.Err().(Errors)
		for _, e := range err {
			if e.Pos.Line < 1 || e.Pos.Column < 1 || e.Pos.Line > lines+1 {
				t.Errorf("%q", e)
			}
		}
		if root == nil {
			return
		}
		root.Walk(func(v *Value) {
			if v.Pos.Line < 1 || v.Pos.Line > lines+1 || v.Key.Line < 1 {
				t.Errorf("%q stands at %v", v.Data(), v.Pos)
			}
		})
	})
}
