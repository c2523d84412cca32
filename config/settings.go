package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

const prefix = "PLINTH_"

// setting is one value that the environment or a flag sets.
type setting struct {
	at       Position
	parts    []string // names from the root, as spelt; the environment's in lower case
	text     string
	spelling strictyaml.Spelling
	origin   strictyaml.Origin
}

// environ holds the environment as a map.
type environ map[string]string

// newEnviron reads NAME=value lines. Of a name that stands twice the first
// counts, as it does for os.Getenv.
func newEnviron(lines []string) environ {
	env := make(environ, len(lines))
	for _, line := range lines {
		name, text, ok := strings.Cut(line, "=")
		if _, twice := env[name]; ok && name != "" && !twice {
			env[name] = text
		}
	}
	return env
}

// kubernetes matches the variables that a cluster sets in every pod for a service named
// plinth-server and the like: they are not addressed to us.
var kubernetes = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// variables loads the environment into koanf, except variables that flags override: an
// overridden variable is not checked.
func (l *layers) variables(environ environ, flags []setting) error {
	ours := environ.ours()
	if len(ours) == 0 {
		return nil
	}
	t := l.newSettings()
	hidden := make(map[string]bool, len(flags))
	for _, f := range flags {
		hidden[f.address()] = true
	}
	set := map[string]setting{}
	for _, line := range ours {
		name, text, _ := strings.Cut(line, "=")
		if s, ok := t.variable(name, text); ok && !hidden[s.address()] {
			set[name] = s
		}
	}
	t.adds = owners(slices.Collect(maps.Values(set)))
	return l.ko.Load(env.Provider(sep, env.Opt{
		EnvironFunc: func() []string { return ours },
		TransformFunc: func(name, _ string) (string, any) {
			if s, ok := set[name]; ok {
				return t.place(s)
			}
			return "", nil
		},
	}), nil)
}

// ours returns the variables with our prefix as NAME=value lines, in the order of names.
func (env environ) ours() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			lines = append(lines, name+"="+env[name])
		}
	}
	return lines
}

// variable returns what a variable sets, if it addresses the configuration.
func (t *settings) variable(name, text string) (setting, bool) {
	at := Position{File: "env " + strictyaml.Clip(name)}
	address := strings.ToLower(name[len(prefix):])
	parts := strings.Split(address, "__")
	if len(parts) == 1 && !slices.Contains(single, address) {
		switch section, key := sectionOf(address), strictyaml.Nearest(address, single); {
		case kubernetes.MatchString(strings.ToUpper(name)):
		case section != "":
			t.problems.Addf(at, "", "addresses nothing: %q is a section, and its levels are separated by two underscores, as in %s%s__KEY", section, prefix, strings.ToUpper(section))
		case key != "":
			t.problems.Addf(at, "", "addresses nothing: did you mean %s%s?", prefix, strings.ToUpper(key))
		}
		return setting{}, false
	}
	s := setting{at: at, parts: parts, text: text, spelling: strictyaml.Lost, origin: strictyaml.Environment}
	return s, s.admit(name, t.taken, t.problems)
}

// flagSettings returns what flags set. Their names are dotted paths.
func flagSettings(flags map[string]string, p *strictyaml.Problems) []setting {
	var out []setting
	taken := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		s := setting{at: Position{File: "flag --set " + strictyaml.Clip(path)}, parts: strings.Split(path, "."), text: flags[path],
			spelling: strictyaml.Loose, origin: strictyaml.Document}
		if s.admit("--set "+path, taken, p) {
			out = append(out, s)
		}
	}
	return out
}

// flags loads the flags into koanf.
func (l *layers) flags(flags []setting) error {
	if len(flags) == 0 {
		return nil
	}
	t, values := l.newSettings(), map[string]any{}
	t.adds = owners(flags)
	for _, s := range flags {
		if path, value := t.place(s); path != "" {
			values[path] = value
		}
	}
	return l.ko.Load(confmap.Provider(values, sep), nil)
}

// address returns what a setting sets, in a form to compare.
func (s setting) address() string { return strictyaml.Fold(strings.Join(s.parts, sep)) }

// admit reports whether a setting has an address, and one that is not taken by another
// of its layer.
func (s setting) admit(name string, taken map[string]string, p *strictyaml.Problems) bool {
	if !goodAddress(s.parts, s.at, p) {
		return false
	}
	if other, twice := taken[s.address()]; twice {
		p.Addf(s.at, "", "sets the same value as %s", strictyaml.Clip(other))
		return false
	}
	taken[s.address()] = name
	return true
}

// sectionOf returns the section that a variable without levels seems to mean. The program
// itself reads PLINTH_LOG and PLINTH_LOG_LEVEL.
func sectionOf(address string) string {
	for _, s := range []string{"log", "plugins", "reload", "server", "stores", "telemetry"} {
		if address == s || strings.HasPrefix(address, s+"_") {
			if address == "log" || address == "log_level" {
				return ""
			}
			return s
		}
	}
	return ""
}

// single are the keys at the top of a configuration that have a single value.
var single = func() (keys []string) {
	for f := range reflect.TypeFor[Config]().Fields() {
		switch key := f.Tag.Get("yaml"); f.Type.Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		default:
			if key != "" {
				keys = append(keys, key)
			}
		}
	}
	return keys
}()

// goodAddress reports whether parts can be an address, and what is wrong if not.
func goodAddress(parts []string, at Position, p *strictyaml.Problems) bool {
	if len(parts) > strictyaml.MaxDepth {
		p.Addf(at, "", "has more than %d levels", strictyaml.MaxDepth)
		return false
	}
	for _, part := range parts {
		switch {
		case part == "":
			p.Add(at, "", "has an empty level in its name")
			return false
		case len(part) > strictyaml.MaxKey:
			p.Addf(at, "", "has a level longer than %d bytes in its name", strictyaml.MaxKey)
			return false
		case strings.ContainsRune(part, 0):
			p.Add(at, "", "contains a zero byte in its name")
			return false
		}
	}
	return true
}
