package storagetest

import (
	"fmt"
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// showItems returns items as text, with their values and expiries, and without versions.
func showItems(items []storage.Item) string {
	var b strings.Builder
	for _, it := range items {
		fmt.Fprintf(&b, "%q=%s", it.Key, quote(it.Value))
		if !it.ExpiresAt.IsZero() {
			fmt.Fprintf(&b, " until %s", it.ExpiresAt.UTC().Format("15:04:05.000"))
		}
		b.WriteString("; ")
	}
	return b.String()
}

func showOps(ops []storage.Op) string {
	var b strings.Builder
	for _, o := range ops {
		switch o.Kind {
		case storage.OpPut:
			fmt.Fprintf(&b, "put %q=%s", o.Key, quote(o.Value))
			if !o.ExpiresAt.IsZero() {
				fmt.Fprintf(&b, " until %s", o.ExpiresAt.UTC().Format("15:04:05.000"))
			}
		case storage.OpDelete:
			fmt.Fprintf(&b, "delete %q", o.Key)
		case storage.OpDeleteRange:
			fmt.Fprintf(&b, "delete %s", showQuery(storage.Query{Start: o.Key, End: o.End}))
		default:
			fmt.Fprintf(&b, "op of kind %d", o.Kind)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func showChecks(checks []storage.Check) string {
	var b strings.Builder
	for _, c := range checks {
		switch c.Kind {
		case storage.CheckAbsent:
			fmt.Fprintf(&b, "if %q is absent", c.Key)
		case storage.CheckPresent:
			fmt.Fprintf(&b, "if %q is present", c.Key)
		case storage.CheckValue:
			fmt.Fprintf(&b, "if %q is %s", c.Key, quote(c.Value))
		case storage.CheckVersion:
			fmt.Fprintf(&b, "if %q is at version %d", c.Key, c.Version)
		case storage.CheckRange:
			fmt.Fprintf(&b, "if nothing in %s is newer than %d", showQuery(storage.Query{Start: c.Key, End: c.End}), c.Version)
		default:
			fmt.Fprintf(&b, "check of kind %d", c.Kind)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}
