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
		"plugins.NAME.limits, of a module: memory": fmt.Sprintf("%dMiB, or %dGiB for a module that is built in", wasmhost.DefaultMemory>>20, wasmhost.BuiltInMemory>>30),
		"plugins.NAME.limits, of a module: call":   fmt.Sprintf("%s, or without end for a module that is trusted or built in", wasmhost.DefaultCall),
	}
	zero := regexp.MustCompile(`\b0: ([^;|.]*)`)
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
