package main

import (
	"fmt"
	"io"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/storage"
)

// printExplained is each store, what it guarantees, and which stages change that.
func printExplained(w io.Writer, h *plinth.Host) {
	for _, s := range h.Stores() {
		fmt.Fprintf(w, "store %s: %s\n", s.Name(), pipelineOf(s))
		if s.Untried() != nil {
			fmt.Fprintf(w, "  %-18s%s\n", "can:", "unknown: the backend was not opened")
			continue
		}
		for _, p := range s.Promises() {
			fmt.Fprintf(w, "  %-18s%s\n", p.Of.String()+":", p.Backend)
			for _, c := range p.Changes {
				mark := "but"
				if c.Weaker {
					mark = "weaker"
				}
				fmt.Fprintf(w, "  %-18s%s, by %s: %s\n", "", mark, c.Stage, c.How)
			}
		}
		info := s.Info()
		fmt.Fprintf(w, "  %-18s%s\n", "limits:", limits(info.Limits))
		fmt.Fprintf(w, "  %-18s%s\n", "can:", info.Caps)
	}
}

func limits(l storage.Limits) string {
	return fmt.Sprintf("key %s, value %s, ops %s, write set %s, keys of a get %s",
		bound(l.Key, " bytes"), bound(l.Value, " bytes"), bound(l.Ops, ""), bound(l.WriteBytes, " bytes"), bound(l.GetKeys, ""))
}
