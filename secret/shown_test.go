package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth/secret"
)

// The holders of secrets: each has one in every kind of field. Formats call no methods on
// what unexported fields hold, nor methods of pointers on what is no pointer.
type (
	exportedPointer   struct{ A *secret.Value }
	exportedValue     struct{ A secret.Value }
	unexportedPointer struct{ a *secret.Value }
	unexportedValue   struct{ a secret.Value }
	embeddedPointer   struct{ *secret.Value }
	embeddedValue     struct{ secret.Value }
	nested            struct {
		a unexportedPointer
		b *unexportedPointer
		C unexportedValue
		D *unexportedValue
		E exportedValue
		f exportedPointer
		g struct{ h struct{ i *secret.Value } }
	}
	list      struct{ a []*secret.Value }
	values    struct{ a []secret.Value }
	pair      struct{ a [2]*secret.Value }
	valuePair struct{ a [2]secret.Value }
	table     struct{ a map[string]*secret.Value }
	keyed     struct{ a map[*secret.Value]int }
	boxed     struct{ a any }
	stringer  struct{ a fmt.Stringer }
	indirect  struct{ a **secret.Value }
	failed    struct{ token *secret.Value }
	several   struct {
		A *secret.Value
		b *secret.Value
		C secret.Value
		d secret.Value
	}
)

func (f failed) Error() string { return fmt.Sprintf("failed: %v, %s", f.token, f.token) }

// set makes v the secret, in place.
func set(t *testing.T, v *secret.Value, text []byte) {
	t.Helper()
	if err := v.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
}

// holders returns values that hold the secret, each as itself and as a pointer.
func holders(t *testing.T, text []byte) map[string]any {
	t.Helper()
	p := secret.Copy(text)
	all := map[string]any{}
	add := func(name string, value, pointer any) { all[name], all["&"+name] = value, pointer }
	var (
		a = exportedPointer{p}
		b exportedValue
		c = unexportedPointer{p}
		d unexportedValue
		e = embeddedPointer{p}
		f embeddedValue
		n = nested{a: c, b: &c, D: &unexportedValue{}, f: a}
		v = values{make([]secret.Value, 2)}
		w valuePair
		s = several{A: p, b: p}
	)
	n.g.h.i = p
	for _, at := range []*secret.Value{&b.A, &d.a, &f.Value, &n.C.a, &n.D.a, &n.E.A, &v.a[0], &v.a[1], &w.a[0], &w.a[1], &s.C, &s.d} {
		set(t, at, text)
	}
	add("value", p, &p)
	add("exportedPointer", a, &a)
	all["&exportedValue"], all["exportedValue"] = &b, copyOf(&b)
	add("unexportedPointer", c, &c)
	all["&unexportedValue"], all["unexportedValue"] = &d, copyOf(&d)
	add("embeddedPointer", e, &e)
	all["&embeddedValue"], all["embeddedValue"] = &f, copyOf(&f)
	all["&nested"], all["nested"] = &n, copyOf(&n)
	add("list", list{[]*secret.Value{p, p}}, &list{[]*secret.Value{p}})
	add("values", v, &v)
	add("pair", pair{[2]*secret.Value{p, p}}, &pair{[2]*secret.Value{p, p}})
	all["&valuePair"], all["valuePair"] = &w, copyOf(&w)
	add("table", table{map[string]*secret.Value{"k": p}}, &table{map[string]*secret.Value{"k": p}})
	add("keyed", keyed{map[*secret.Value]int{p: 1}}, &keyed{map[*secret.Value]int{p: 1}})
	add("boxed", boxed{p}, &boxed{p})
	all["boxed value"], all["boxed holder"] = boxed{copyOf(&d.a)}, boxed{&c}
	add("stringer", stringer{p}, &stringer{p})
	add("indirect", indirect{&p}, &indirect{&p})
	add("failed", failed{p}, &failed{p})
	all["&several"], all["several"] = &s, copyOf(&s)
	all["slice"], all["map"], all["array"] = []*secret.Value{p}, map[string]*secret.Value{"k": p}, [1]*secret.Value{p}
	all["slice of any"] = []any{p, a, &c, copyOf(&d), &s}
	all["slice of values"], all["slice of holders"] = v.a, []unexportedPointer{c}
	return all
}

// copyOf returns what p points to, as fmt gets an argument.
func copyOf[T any](p *T) any { return *p }

// parts are runs of the secret's bytes, as they may be shown: text, hexadecimal and base64 in
// lower case, and words that stand in a row, as of a list of numbers or characters.
type parts struct{ texts, words []string }

func partsOf(text []byte) (p parts) {
	for _, encoded := range []string{base64.StdEncoding.EncodeToString(text), base64.StdEncoding.EncodeToString(text[1:]), base64.StdEncoding.EncodeToString(text[2:])} {
		p.texts = append(p.texts, strings.ToLower(encoded[:8]))
	}
	for i := 0; i+4 <= len(text); i++ {
		p.texts = append(p.texts, hex.EncodeToString(text[i:i+4])) // four, since three may be in an address
	}
	for i := 0; i+3 <= len(text); i++ {
		run := text[i : i+3]
		p.texts = append(p.texts, strings.ToLower(string(run)))
		for _, form := range []string{" %d %d %d ", " %x %x %x ", " %o %o %o ", " %b %b %b ", " %c %c %c ", " %[1]x %[1]c %[2]x %[2]c %[3]x "} {
			p.words = append(p.words, strings.ToLower(fmt.Sprintf(form, run[0], run[1], run[2])))
		}
	}
	return p
}

var (
	prefixes = strings.NewReplacer("0x", "", "0o", "", "0b", "", "u+00", "", `\x`, " ", `\u00`, " ")
	unlike   = func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') }
)

// in returns what is shown of the secret.
func (p parts) in(shown string) string {
	shown = strings.ToLower(shown)
	for _, text := range p.texts {
		if strings.Contains(shown, text) {
			return text
		}
	}
	words := strings.FieldsFunc(prefixes.Replace(shown), unlike)
	for i, w := range words {
		if len(w) > 1 {
			words[i] = strings.TrimLeft(w, "0")
		}
	}
	shown = " " + strings.Join(words, " ") + " "
	for _, text := range p.words {
		if strings.Contains(shown, text) {
			return text
		}
	}
	return ""
}

// Nothing that formats, logs or encodes what holds a secret shows a part of it, whatever the
// holder is, and whatever it is asked for.
func TestNothingShowsAHolder(t *testing.T) {
	text := []byte("zqxjvwkZXQJKVyqz")
	parts := partsOf(text)
	for _, verb := range []string{"%v", "%x", "%X", "%# x", "% X", "%U", "%#U", "%c", "%q", "%s", "%#v", "%o", "%#o", "%b", "%08b", "%03d"} {
		if shown := fmt.Sprintf(verb, text); parts.in(shown) == "" {
			t.Errorf("this test does not see %s", shown)
		}
	}
	var verbs []string
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "08.3", "-20", ".1", "+.40"} {
		for verb := 'A'; verb <= 'z'; verb++ {
			if verb <= 'Z' || verb >= 'a' {
				verbs = append(verbs, "%"+flags+string(verb))
			}
		}
		verbs = append(verbs, "%"+flags+"!")
	}
	for name, h := range holders(t, text) {
		t.Run(name, func(t *testing.T) {
			check := func(how, shown string) {
				if part := parts.in(shown); part != "" {
					t.Fatalf("%s shows %q:\n%.300q", how, part, shown)
				}
			}
			for _, verb := range verbs {
				check(verb, fmt.Sprintf(verb, h))
				check(verb+" of an error", fmt.Errorf("wrapped: "+verb, h).Error())
				check(verb+" of a wrong width", fmt.Sprintf("%*"+verb[1:]+verb, h, h, h))
			}
			check("Sprintln", fmt.Sprintln(h, []any{h}, struct{ h any }{h}))
			if err, ok := h.(error); ok {
				check("its error", errors.Join(err, fmt.Errorf("%w", err)).Error())
			}
			var shown bytes.Buffer
			for _, handler := range []slog.Handler{slog.NewTextHandler(&shown, nil), slog.NewJSONHandler(&shown, nil)} {
				slog.New(handler).With("with", h).WithGroup("g").Info("m", "h", h, "of", []any{h}, "in", struct{ H any }{h}, slog.Group("group", "h", h))
			}
			check("slog", shown.String())
			raw, err := json.Marshal(map[string]any{"h": h})
			check("JSON", fmt.Sprint(string(raw), err))
			check("YAML", inYAML(h))
			raw, err = xml.Marshal(h)
			check("XML", fmt.Sprint(string(raw), err))
			shown.Reset()
			err = template.Must(template.New("").Parse(`{{.}}{{printf "%s %x %+v" . . .}}`)).Execute(&shown, h)
			check("a template", fmt.Sprint(shown.String(), err))
		})
	}
}

// inYAML returns h in YAML, or why it cannot be written.
func inYAML(h any) (shown string) {
	defer func() {
		if p := recover(); p != nil {
			shown += fmt.Sprint(p)
		}
	}()
	raw, err := yaml.Marshal(h)
	return fmt.Sprint(string(raw), err)
}

// Nil and zero are the empty secret, and are shown like any other.
func TestEmptyOnesAreShownAlike(t *testing.T) {
	type holder struct{ A *secret.Value }
	for name, v := range map[string]*secret.Value{"nil": nil, "zero": {}, "empty": secret.Copy(""), "full": secret.Copy(text)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%c", "%08.3f"} {
			if got := fmt.Sprintf(verb, v); got != "[REDACTED]" {
				t.Errorf("%s by %s: %s", name, verb, got)
			}
		}
		if v.String() != "[REDACTED]" || v.GoString() != "[REDACTED]" || v.LogValue().String() != "[REDACTED]" {
			t.Errorf("%s: %s, %#v", name, v.String(), v)
		}
		if raw, err := v.MarshalText(); err != nil || string(raw) != "[REDACTED]" {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
		raw, err := json.Marshal(holder{v})
		if want := map[bool]string{true: `{"A":null}`, false: `{"A":"[REDACTED]"}`}[v == nil]; err != nil || string(raw) != want {
			t.Errorf("%s in JSON: %s, %v", name, raw, err)
		}
		var shown strings.Builder
		slog.New(slog.NewTextHandler(&shown, nil)).Info("m", "v", v)
		if !strings.HasSuffix(shown.String(), " v=[REDACTED]\n") {
			t.Errorf("%s by slog: %s", name, &shown)
		}
	}
}
