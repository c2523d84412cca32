package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// hidden stands in place of a secret that stands in the file itself.
const hidden = "(hidden)"

// secretWord matches a name that suggests a secret, or a part of one.
const secretWord = `(?:token|passw|pass\b|pwd|(?:\b|_)pw\b|passphrase|secret|cred|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|encryption[_-]?key|signing|hmac|jwt|bearer|cookie|auth\b|authorization|signature|\bsig\b)`

var (
	secretName = regexp.MustCompile(`(?i)` + secretWord)
	// What a URL has before its host, up to the last @, and the same of a DSN without a scheme.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^/\s?#]+)@`)
	dsnUser  = regexp.MustCompile(`(^|//|\s)([^\s/:@]+):([^\s@/]+)@`)
	// A password as key=value, as in connection strings, queries and flags.
	keyValue = regexp.MustCompile(`(?i)([\w.-]*` + secretWord + `[\w.-]*)("?\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:\\.|[^\s\\])+)`)
	// Where the value of an unquoted one ends: before the next key, or a bracket around it.
	nextKey = regexp.MustCompile(`[&;,][\w.-]+[=:]|[&;,}\])]+$`)
	leading = regexp.MustCompile(`^(?:\$\{[^}]*\})+`)
	// The same as a flag and its value in one text.
	flagValue = regexp.MustCompile(`(?i)(^|\s)(--?[\w-]*` + secretWord + `[\w-]*)(\s+)(\S+)`)
	pem       = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	// A header, as in the argument of a command.
	header     = regexp.MustCompile(`(?i)\b(authorization|cookie)(\s*[:=]\s*)(.+)`)
	references = regexp.MustCompile(`^(?:\$\{[^}]*\}|:)+$`)
	fallback   = regexp.MustCompile(`(\$\{env:[^}:]*:-)[^}]+\}`)
	indices    = regexp.MustCompile(`\[\d+\]`)
)

// hideSecrets says of each scalar below root how it is shown, if it holds a secret. tagged
// are the paths of secrets in the configurations of plugins.
func hideSecrets(root *strictyaml.Value, tagged map[string][]string) {
	of := map[string][]string{} // by the path of a configuration
	if stores := root.Get("stores"); stores != nil && len(tagged) > 0 {
		for _, e := range stores.Entries {
			path := strictyaml.Key(strictyaml.Key("stores", e.Name), "backend")
			if plugin, ok := e.Value.Find("backend.plugin"); ok && plugin.Kind == strictyaml.Scalar {
				of[strictyaml.Key(path, "config")+"."] = tagged[plugin.Data()]
			}
		}
	}
	hideBelow(root, "", func(path string) bool {
		for config, secrets := range of {
			if own, below := strings.CutPrefix(path, config); below {
				own = indices.ReplaceAllString(own, "[]")
				return slices.ContainsFunc(secrets, func(s string) bool { return strictyaml.Within(s, own) })
			}
		}
		return false
	})
}

// hideBelow hides the secrets in v, which stands at path.
func hideBelow(v *strictyaml.Value, path string, tagged func(path string) bool) {
	switch v.Kind {
	case strictyaml.Mapping:
		named := v.Get("name") // as a header, or an attribute, has it
		for _, e := range v.Entries {
			hideBelow(e.Value, strictyaml.Key(path, e.Name), tagged)
			if e.Name == "value" && named != nil && secretName.MatchString(named.Data()) {
				hideScalar(e.Value, true)
			}
		}
	case strictyaml.List:
		for i, item := range v.Items {
			hideBelow(item, strictyaml.Item(path, i), tagged)
			if i > 0 && secretFlag(v.Items[i-1].Data()) {
				hideScalar(item, true)
			}
		}
	case strictyaml.Scalar:
		known := secretPath(path) || tagged(path)
		hideScalar(v, known || granted(path))
		v.Ordinary = !known && granted(path) && masked(v.Text) == v.Text
	}
}

// hideScalar hides all of v, if whole, and else what is a secret by its form. References
// stay, but for their defaults.
func hideScalar(v *strictyaml.Value, whole bool) {
	var shown string
	switch {
	case v.Kind != strictyaml.Scalar || v.Text == "" || v.Origin == strictyaml.Environment:
		return
	case whole && references.MatchString(v.Text):
		shown = withoutDefaults(v.Text)
	case whole:
		shown = hidden
	default:
		shown = masked(v.Text)
	}
	if shown != v.Text {
		v.Masked = shown
	}
}

// cutValue cuts what follows key= where the value ends.
func cutValue(text string) (value, rest string) {
	if text[0] == '"' || text[0] == '\'' {
		return text, ""
	}
	from := len(leading.FindString(text))
	if end := nextKey.FindStringIndex(text[from:]); end != nil {
		return text[:from+end[0]], text[from+end[0]:]
	}
	return text, ""
}

// withoutDefaults hides the defaults of references.
func withoutDefaults(text string) string {
	return fallback.ReplaceAllString(text, "${1}"+hidden+"}")
}

// secretPath reports whether a value is one by where it is: below a name that speaks of a
// secret, or among headers.
func secretPath(path string) bool {
	elements := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' || r == '"' })
	for i, name := range elements {
		name = strings.ToLower(name)
		switch {
		case i == 1 && (elements[0] == "plugins" || elements[0] == "stores"): // what an operator calls it
		case strings.HasSuffix(name, "per_token"):
		case secretName.MatchString(name):
			return true
		case strings.HasPrefix(name, "header") && i < len(elements)-1:
			return elements[len(elements)-1] != "name" // the value of a header
		case name == "headers_list":
			return true
		}
	}
	return false
}

// granted reports whether a value is granted to a plugin as its environment. It may be a
// secret, whatever its name.
func granted(path string) bool {
	return strings.HasPrefix(path, "plugins.") && strings.Contains(path, ".grants.env.")
}

// secretFlag reports whether what follows an argument is a secret, as what follows
// --password.
func secretFlag(arg string) bool {
	return strings.HasPrefix(arg, "-") && !strings.ContainsAny(arg, "= ") && secretName.MatchString(arg)
}

// masked hides what is a secret by its form. References stay: they are none.
func masked(text string) string {
	text = userinfo.ReplaceAllStringFunc(text, func(s string) string {
		m := userinfo.FindStringSubmatch(s)
		_, password, ok := strings.Cut(m[2], ":")
		if references.MatchString(m[2]) || ok && references.MatchString(password) {
			return withoutDefaults(s)
		}
		return m[1] + hidden + "@"
	})
	if pem.MatchString(text) {
		return hidden
	}
	text = dsnUser.ReplaceAllStringFunc(text, func(s string) string {
		m := dsnUser.FindStringSubmatch(s)
		if references.MatchString(m[3]) {
			return withoutDefaults(s)
		}
		return m[1] + m[2] + ":" + hidden + "@"
	})
	text = flagValue.ReplaceAllString(text, "${1}${2}${3}"+hidden)
	text = keyValue.ReplaceAllStringFunc(text, func(s string) string {
		m := keyValue.FindStringSubmatch(s)
		value, rest := cutValue(m[3])
		switch {
		case strings.HasPrefix(value, "//"):
			return s
		case references.MatchString(value):
			return m[1] + m[2] + withoutDefaults(value) + masked(rest)
		}
		return m[1] + m[2] + hidden + masked(rest)
	})
	return header.ReplaceAllStringFunc(text, func(s string) string {
		m := header.FindStringSubmatch(s)
		if references.MatchString(m[3]) {
			return withoutDefaults(s)
		}
		return m[1] + m[2] + hidden
	})
}
