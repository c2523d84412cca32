package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

const prefix = "PLINTH_"

// setting is one value that the environment or a flag sets.
type setting struct {
	at     Position
	parts  []string // names from the root, as spelt; the environment's in lower case
	text   string
	added  strictyaml.Spelling
	origin strictyaml.Origin
}

// settingsLayer is the environment, or the flags, as a koanf provider. A value
// stands under self below its folded address, so that PLINTH_A and PLINTH_A__B
// do not hide each other before they are looked at.
type settingsLayer struct {
	units    *units
	settings []setting
}

func (l settingsLayer) ReadBytes() ([]byte, error) { return nil, errNoBytes }

func (l settingsLayer) Read() (map[string]any, error) {
	root := map[string]any{}
	for _, s := range l.settings {
		m := root
		for _, part := range s.parts {
			next, ok := m[strictyaml.Fold(part)].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[strictyaml.Fold(part)] = next
			}
			m = next
		}
		l.units.settings = append(l.units.settings, s)
		m[self] = len(l.units.settings) - 1
	}
	return map[string]any{settings: root}, nil
}

// environ is the environment as a map.
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

// kubernetes is what a cluster sets in every pod for a service named plinth-server
// and the like: it is not addressed to us.
var kubernetes = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// settings are the variables that address the configuration.
func (env environ) settings(p *strictyaml.Problems) []setting {
	var out []setting
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		at := Position{File: "env " + strictyaml.Clip(name)}
		address := strings.ToLower(name[len(prefix):])
		parts := strings.Split(address, "__")
		if len(parts) == 1 {
			if section := sectionOf(address); section != "" && !kubernetes.MatchString(strings.ToUpper(name)) {
				p.Addf(at, "", "addresses nothing: %q is a section, and its levels are separated by two underscores, as in %s%s__KEY", section, prefix, strings.ToUpper(section))
			}
			continue
		}
		if !goodAddress(parts, at, p) {
			continue
		}
		key := strictyaml.Fold(strings.Join(parts, self))
		if other, twice := taken[key]; twice {
			p.Addf(at, "", "sets the same value as %s", strictyaml.Clip(other))
			continue
		}
		taken[key] = name
		out = append(out, setting{at: at, parts: parts, text: env[name], added: strictyaml.Lost, origin: strictyaml.Environment})
	}
	return out
}

// sectionOf is the section that a variable without levels seems to mean.
func sectionOf(address string) string {
	for _, s := range []string{"plugins", "server", "stores", "telemetry"} {
		if address == s || strings.HasPrefix(address, s+"_") {
			return s
		}
	}
	return ""
}

// flagSettings are the flags, whose names are dotted paths.
func flagSettings(flags map[string]string, p *strictyaml.Problems) []setting {
	var out []setting
	taken := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		at := Position{File: "flag --set " + strictyaml.Clip(path)}
		parts := strings.Split(path, ".")
		if !goodAddress(parts, at, p) {
			continue
		}
		key := strictyaml.Fold(strings.Join(parts, self))
		if other, twice := taken[key]; twice {
			p.Addf(at, "", "sets the same value as --set %s", strictyaml.Clip(other))
			continue
		}
		taken[key] = path
		out = append(out, setting{at: at, parts: parts, text: flags[path], added: strictyaml.Loose, origin: strictyaml.Document})
	}
	return out
}

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
			p.Add(at, "", "has a zero byte in its name")
			return false
		}
	}
	return true
}
