package config

import (
	"regexp"
	"strings"
)

// secretWord is a name that speaks of a secret, or a part of one.
const secretWord = `(?:token|passw|pass\b|pwd|passphrase|secret|cred|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|encryption[_-]?key|signing|hmac|jwt|bearer|cookie|auth\b|authorization|signature|\bsig\b)`

var (
	secretName = regexp.MustCompile(`(?i)` + secretWord)
	// What a URL has before its host, and the same of a DSN without a scheme.
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^/\s@]+)@`)
	dsnUser  = regexp.MustCompile(`(^|//|\s)([^\s/:@]+):([^\s@/]+)@`)
	// A password as key=value, as in connection strings, queries and flags.
	keyValue = regexp.MustCompile(`(?i)([\w.-]*` + secretWord + `[\w.-]*)("?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&;,}]+)`)
	// The same as a flag and its value in one text.
	flagValue = regexp.MustCompile(`(?i)(^|\s)(--?[\w-]*` + secretWord + `[\w-]*)(\s+)(\S+)`)
	pem       = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	// A header, as in the argument of a command.
	header     = regexp.MustCompile(`(?i)\b(authorization|cookie)(\s*[:=]\s*)(.+)`)
	references = regexp.MustCompile(`^(?:\$\{[^}]*\}|:)+$`)
)

// secret reports whether a value is one by where it is: below a name that speaks of a
// secret, among headers, or granted to a plugin as its environment.
func secret(path string) bool {
	elements := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' || r == '"' })
	for i, name := range elements {
		name = strings.ToLower(name)
		switch {
		case strings.HasSuffix(name, "per_token"):
		case secretName.MatchString(name):
			return true
		case strings.HasPrefix(name, "header") && i < len(elements)-1:
			return elements[len(elements)-1] != "name" // the value of a header
		case name == "headers_list":
			return true
		}
	}
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
			return s
		}
		return m[1] + hidden + "@"
	})
	if pem.MatchString(text) {
		return hidden
	}
	text = dsnUser.ReplaceAllStringFunc(text, func(s string) string {
		m := dsnUser.FindStringSubmatch(s)
		if references.MatchString(m[3]) {
			return s
		}
		return m[1] + m[2] + ":" + hidden + "@"
	})
	text = flagValue.ReplaceAllString(text, "${1}${2}${3}"+hidden)
	text = keyValue.ReplaceAllStringFunc(text, func(s string) string {
		m := keyValue.FindStringSubmatch(s)
		if references.MatchString(m[3]) || strings.HasPrefix(m[3], "//") {
			return s
		}
		return m[1] + m[2] + hidden
	})
	return header.ReplaceAllStringFunc(text, func(s string) string {
		m := header.FindStringSubmatch(s)
		if references.MatchString(m[3]) {
			return s
		}
		return m[1] + m[2] + hidden
	})
}
