package postgres

import (
	"bytes"

	"github.com/plinthkv/plinth/storage"
)

// own copies what a request shares with its caller, and notes what it is made of.
func (r *request) own() {
	w := r.writes
	copied := func(b []byte) []byte {
		r.size += len(b)
		if b == nil {
			return nil
		}
		return bytes.Clone(b)
	}
	checks := make([]storage.Check, len(w.Checks))
	for i, c := range w.Checks {
		r.ranges = r.ranges || c.Kind == storage.CheckRange
		c.Key, c.End, c.Value = copied(c.Key), copied(c.End), copied(c.Value)
		checks[i] = c
	}
	ops := make([]storage.Op, len(w.Ops))
	for i, o := range w.Ops {
		r.ranges = r.ranges || o.Kind == storage.OpDeleteRange
		r.puts = r.puts && o.Kind == storage.OpPut
		o.Key, o.End, o.Value = copied(o.Key), copied(o.End), copied(o.Value)
		ops[i] = o
	}
	r.puts = r.puts && len(ops) > 0
	w.Checks, w.Ops = checks, ops
}
