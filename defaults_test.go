package plinth_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// A default stands in the column of defaults, which is made from what is in force. Where it
// depends on something else, the text says it after "0:", and here is what it has to say.
func TestDefaultsOfThePages(t *testing.T) {
	said := map[string]string{
		"plugins.NAME.limits, of a module: memory": fmt.Sprintf("%dMiB, or %dGiB for a built-in module", wasmhost.DefaultMemory>>20, wasmhost.BuiltInMemory>>30),
		"plugins.NAME.limits, of a module: call":   fmt.Sprintf("%s, or no limit for a trusted or built-in module", wasmhost.DefaultCall),
	}
	zero := regexp.MustCompile(`\b(?:0:|[Ii]f zero,) ([^;|.]*)`)
	for _, page := range []string{"docs/config.md", "docs/wrappers.md"} {
		section := ""
		for line := range strings.Lines(contents(t, page)) {
			if title, ok := strings.CutPrefix(line, "## "); ok {
				section = strings.TrimSpace(title)
			}
			cells := strings.Split(line, "|")
			if len(cells) < 6 {
				continue
			}
			setting := section + ": " + strings.Trim(cells[1], " `")
			text := zero.FindStringSubmatch(cells[4] + "|")
			want, ours := said[setting]
			delete(said, setting)
			switch {
			case ours && (text == nil || text[1] != want):
				t.Errorf("%s: %s says %q of 0, and %q is in force", page, setting, text, want)
			case !ours && text != nil && strings.ContainsAny(text[1], "0123456789"):
				t.Errorf("%s: %s has a default in its text, %q: it belongs into the column", page, setting, text[1])
			}
		}
	}
	for setting := range said {
		t.Errorf("no page has %s", setting)
	}
}

// The pages that are written by hand say the same defaults as those that are made from what
// is in force.
func TestDefaultsOfThePagesByHand(t *testing.T) {
	inForce := reference(t)
	word := regexp.MustCompile("`([a-z_.]+)`")
	checked := 0
	same := func(where, setting, said string) {
		checked++
		said = strings.NewReplacer("`", "", ",", "", " ", "", "min", "m").Replace(said)
		if want, ok := inForce[setting]; !ok || said != want {
			t.Errorf("%s: %s is %q by default, and %q is in force", where, setting, said, want)
		}
	}
	owners := map[string]string{"Process": "process ", "When a plugin is lost": "process ", "memory": "memory ", "Remote": "remote ", "Server": "server."}
	owner := ""
	for line := range strings.Lines(contents(t, "docs/configuration.md")) {
		if strings.HasPrefix(line, "#") {
			owner = owners[strings.Trim(line, "# \n")]
		}
		cells := strings.Split(line, "|")
		if owner == "" || len(cells) < 5 {
			continue
		}
		names := word.FindAllStringSubmatch(cells[1], -1)
		values := strings.Split(strings.TrimSpace(cells[2]), ", ")
		for i, name := range names {
			if value := values[min(i, len(values)-1)]; value != "" {
				same("docs/configuration.md", owner+name[1], value)
			}
		}
		if owner == "server." && len(names) == 1 && names[0][1] == "limits" {
			for _, limit := range regexp.MustCompile("`([a-z_]+)` \\(([^),:;]+)").FindAllStringSubmatch(cells[3], -1) {
				same("docs/configuration.md", "server.limits."+limit[1], limit[2])
			}
		}
	}
	_, limits, _ := strings.Cut(contents(t, "docs/http.md"), "\n## Limits\n")
	for _, limit := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9][^|]*?) \\|").FindAllStringSubmatch(limits, -1) {
		same("docs/http.md", "server.limits."+limit[1], limit[2])
	}
	if checked < 32 {
		t.Errorf("only %d defaults were found", checked)
	}
}

// reference are the defaults that docs/config.md prints, by their settings: of plugins after
// whose they are, as in "process limits.call".
func reference(t *testing.T) map[string]string {
	defaults := map[string]string{}
	section := ""
	title := regexp.MustCompile(`^## plugins\.NAME(\.[a-z_.]+)?, (?:a|of a) (\w+)$`)
	for line := range strings.Lines(contents(t, "docs/config.md")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			section, _, _ = strings.Cut(strings.TrimPrefix(line, "## plugin "), ",")
			section = strings.TrimPrefix(section, "## ") + " "
			if strings.HasPrefix(section, "server") {
				section = strings.TrimSpace(section) + "."
			}
			if m := title.FindStringSubmatch(line); m != nil {
				section = m[2] + " " + strings.TrimPrefix(m[1]+".", ".")
			}
		}
		if cells := strings.Split(line, "|"); len(cells) > 5 {
			defaults[section+strings.Trim(cells[1], " `")] = strings.Trim(cells[3], " `\"")
		}
	}
	return defaults
}
