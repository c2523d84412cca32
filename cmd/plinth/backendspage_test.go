package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

var update = flag.Bool("update", false, "write what the tests see into the pages")

// The table of docs/backends.md is what the backends say of themselves.
func TestBackendsPage(t *testing.T) {
	const file, begin, end = "../../docs/backends.md", "<!-- what backends say of themselves: go test ./cmd/plinth -run TestBackendsPage -update -->\n", "<!-- until here -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(begin))
	old, after, too := bytes.Cut(rest, []byte(end))
	if !ok || !too {
		t.Fatalf("%s has no place for the table", file)
	}
	var infos []storage.Info
	for _, e := range engines() {
		infos = append(infos, e.asHosted())
	}
	table := backendsTable(infos)
	if *update {
		page := strings.Join([]string{string(before), begin, table, end, string(after)}, "")
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(old) != table {
		t.Errorf("%s is not what the backends say: run this test with -update. It should have\n%s", file, table)
	}
	for _, e := range engines() {
		if !strings.Contains(string(page), "\n## "+e.name+"\n") {
			t.Errorf("%s has no section about %s", file, e.name)
		}
	}
}

// backendsTable has a column for each backend.
func backendsTable(all []storage.Info) string {
	var b strings.Builder
	row := func(name string, of func(storage.Info) string) {
		b.WriteString("| " + name + " |")
		for _, i := range all {
			b.WriteString(" " + of(i) + " |")
		}
		b.WriteByte('\n')
	}
	row("", func(i storage.Info) string { return "`" + i.Name + "`" })
	row("---", func(storage.Info) string { return "---" })
	for _, name := range storage.CapNames() {
		c, _ := storage.ParseCap(name)
		row("`"+name+"`", func(i storage.Info) string {
			if i.Caps.Has(c) {
				return "yes"
			}
			return "–"
		})
	}
	row("key, bytes", func(i storage.Info) string { return figure(i.Limits.Key) })
	row("value, bytes", func(i storage.Info) string { return figure(i.Limits.Value) })
	row("ops and checks of a write set", func(i storage.Info) string { return figure(i.Limits.Ops) })
	row("write set, bytes", func(i storage.Info) string { return figure(i.Limits.WriteBytes) })
	row("keys of one get", func(i storage.Info) string { return figure(i.Limits.GetKeys) })
	row("step of a TTL", func(i storage.Info) string { return max(i.Limits.TTLPrecision, time.Millisecond).String() })
	row("IDs remembered", func(i storage.Info) string {
		switch {
		case !i.Caps.Has(storage.CapIdempotent):
			return "–"
		case i.Limits.IDWindow > 0 && i.Limits.IDCount > 0:
			return fmt.Sprintf("the last %s, for %s", figure(i.Limits.IDCount), i.Limits.IDWindow)
		case i.Limits.IDWindow > 0:
			return "for " + i.Limits.IDWindow.String()
		}
		return "the last " + figure(i.Limits.IDCount)
	})
	row("changes kept at most", func(i storage.Info) string {
		switch {
		case !i.Caps.Has(storage.CapChanges):
			return "–"
		case i.Limits.Changes > 0 && i.Limits.ChangesAge > 0:
			return fmt.Sprintf("the last %s, for %s", figure(i.Limits.Changes), i.Limits.ChangesAge)
		case i.Limits.ChangesAge > 0:
			return "for " + i.Limits.ChangesAge.String()
		case i.Limits.Changes == 0:
			return "all"
		}
		return "the last " + figure(i.Limits.Changes)
	})
	return b.String()
}

// figure is a number with its thousands apart; 0 means no limit.
func figure(n int) string {
	if n == 0 {
		return "any"
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
