package storagetest

import (
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// shrink makes a failing script as small as it gets within patience: it leaves
// out ever smaller parts, then makes the steps that are left simpler. (A script
// of ten thousand steps is too long for rapid, which tries draw by draw.)
func shrink(script []step, patience time.Duration, fails func([]step) bool) []step {
	deadline := time.Now().Add(patience)
	late := func() bool { return time.Now().After(deadline) }
	for part := (len(script) + 1) / 2; part > 0 && !late(); {
		before := len(script)
		for at := 0; at < len(script) && !late(); {
			shorter := slices.Concat(script[:at], script[min(at+part, len(script)):])
			if fails(shorter) {
				script = shorter
			} else {
				at += part
			}
		}
		if len(script) == before || part > len(script) {
			part /= 2
		}
	}
	for i := 0; i < len(script) && !late(); i++ {
		for again := true; again && !late(); {
			again = false
			for _, s := range script[i].simpler() {
				with := slices.Clone(script)
				if with[i] = s; fails(with) {
					script, again = with, true
					break
				}
			}
		}
	}
	return script
}

// simpler returns steps that do a little less than s.
func (s step) simpler() (all []step) {
	add := func(change func(*step)) {
		c := s
		c.keys, c.ops, c.check = slices.Clone(s.keys), slices.Clone(s.ops), slices.Clone(s.check)
		change(&c)
		all = append(all, c)
	}
	for i := range s.keys {
		add(func(c *step) { c.keys = slices.Delete(c.keys, i, i+1) })
	}
	for i, o := range s.ops {
		add(func(c *step) { c.ops = slices.Delete(c.ops, i, i+1) })
		if o.ttl.set {
			add(func(c *step) { c.ops[i].ttl = ttl{} })
		}
		if len(o.value) > 1 {
			add(func(c *step) { c.ops[i].value = "v" })
		}
	}
	for i := range s.check {
		if s.kind == stepApply {
			add(func(c *step) { c.check = slices.Delete(c.check, i, i+1) })
		}
	}
	if s.id != 0 {
		add(func(c *step) { c.id = 0 })
	}
	if s.ttl.set {
		add(func(c *step) { c.ttl = ttl{} })
	}
	if len(s.value) > 1 {
		add(func(c *step) { c.value = "v" })
	}
	if s.level != storage.ReadCommitted {
		add(func(c *step) { c.level = storage.ReadCommitted })
	}
	q := s.query
	for _, less := range []storage.Query{
		{Start: q.Start, End: q.End}, {Limit: q.Limit, MaxBytes: q.MaxBytes, Reverse: q.Reverse, KeysOnly: q.KeysOnly},
	} {
		if showQuery(less) != showQuery(q) {
			add(func(c *step) { c.query = less })
		}
	}
	return all
}
