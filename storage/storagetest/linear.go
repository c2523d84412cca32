package storagetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/plinthkv/plinth/storage"
)

// linear is what a store does, one call after the other, as porcupine wants it:
// a function of states.
type linear struct {
	first    state
	versions bool
}

// unsaid is the version of an item whose write did not answer: any will do.
const unsaid = 0

func (l linear) model() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return l.first },
		Step:      func(s, in, out any) (bool, any) { return l.step(s.(state), in.(call), out.(result)) },
		Equal:     func(a, b any) bool { return l.same(a.(state), b.(state)) },
		Hash:      func(s any) uint64 { return s.(state).version<<16 | uint64(len(s.(state).items)) },
	}
}

// byKey parts calls of one key each, for the history of a store is linearizable if that of each
// key is. Where a call is of several keys, all are one part.
func byKey(calls []porcupine.Operation) (parts [][]porcupine.Operation) {
	of := map[string]int{}
	for _, c := range calls {
		key, one := c.Input.(call).key()
		if !one {
			return [][]porcupine.Operation{calls}
		}
		at, ok := of[string(key)]
		if !ok {
			at = len(parts)
			of[string(key)] = at
			parts = append(parts, nil)
		}
		parts[at] = append(parts[at], c)
	}
	return parts
}

// key returns the only key of a call, or false if it is of several.
func (c call) key() (key []byte, one bool) {
	switch {
	case c.get != nil:
		return c.get, true
	case c.apply == nil || len(c.apply.Checks) > 0 || len(c.apply.Ops) != 1 || c.apply.Ops[0].Kind == storage.OpDeleteRange:
		return nil, false
	}
	return c.apply.Ops[0].Key, true
}

// step reports whether c can answer r in s, and what the state is then.
func (l linear) step(s state, c call, r result) (bool, state) {
	now := time.Time{}
	switch {
	case c.get != nil:
		it, ok := s.get(c.get, now)
		return ok == (len(r.items) == 1) && (!ok || l.sameItem(it, r.items[0])), s
	case c.many != nil:
		var want []storage.Item
		for _, key := range c.many {
			if it, ok := s.get(key, now); ok {
				want = append(want, it)
			}
		}
		return l.sameItems(want, r.items), s
	case c.scan != nil:
		return l.pageOf(s, *c.scan, r.page), s
	}
	failing := l.failing(s, c.apply.Checks)
	switch {
	case r.unknown:
		if failing >= 0 {
			return true, s
		}
		return true, s.apply(c.apply.Ops, now, unsaid)
	case r.refused:
		return failing >= 0 && (r.failed < 0 || failing == r.failed), s
	case failing >= 0:
		return false, s
	}
	next := s.apply(c.apply.Ops, now, r.version)
	if !l.versions {
		return true, next
	}
	if changes(s, c.apply.Ops) {
		next.version = r.version
		return r.version > s.version || r.version == s.version && apart(s, c.apply.Ops), next
	}
	return r.version >= s.version, next // greater where a change before did not answer
}

// apart reports whether ops touch no item of the latest write. Only then may their
// write have the same version: a layer that merges the writes of several callers
// returns the version of all to each of them.
func apart(s state, ops []storage.Op) bool {
	for _, it := range s.within(nil, nil, time.Time{}) {
		if it.Version != s.version {
			continue
		}
		for _, o := range ops {
			if o.Kind == storage.OpDeleteRange && storage.InRange(it.Key, o.Key, o.End) || o.Kind != storage.OpDeleteRange && bytes.Equal(o.Key, it.Key) {
				return false
			}
		}
	}
	return true
}

// changes reports whether ops change s. Versions do not: two may be alike here.
func changes(s state, ops []storage.Op) bool {
	const other = 1<<64 - 1
	return s.apply(ops, time.Time{}, other).version == other
}

// failing returns the first check that does not hold. Against a version that is not
// known a check on versions may hold or not; it counts as holding.
func (l linear) failing(s state, checks []storage.Check) int {
	for i, c := range checks {
		it, ok := s.get(c.Key, time.Time{})
		if c.Kind == storage.CheckVersion && ok && it.Version == unsaid {
			continue
		}
		if !s.holds(c, time.Time{}) {
			return i
		}
	}
	return -1
}

// pageOf reports whether page is one of q in s: all of the range up to its Next.
func (l linear) pageOf(s state, q storage.Query, page storage.Page) bool {
	start, end := q.Start, q.End
	switch {
	case page.Next != nil && q.Reverse:
		start = page.Next
	case page.Next != nil:
		end = page.Next
	}
	want := s.within(start, end, time.Time{})
	if q.Reverse {
		for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
			want[i], want[j] = want[j], want[i]
		}
	}
	if l.versions && page.Version < s.version {
		return false
	}
	return l.sameItems(want, page.Items)
}

func (l linear) sameItems(want, got []storage.Item) bool {
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if !bytes.Equal(want[i].Key, got[i].Key) || !l.sameItem(want[i], got[i]) {
			return false
		}
	}
	return true
}

func (l linear) sameItem(want, got storage.Item) bool {
	return (got.Value == nil || bytes.Equal(want.Value, got.Value)) &&
		(!l.versions || want.Version == unsaid || want.Version == got.Version)
}

func (l linear) same(a, b state) bool {
	if a.version != b.version || len(a.items) != len(b.items) {
		return false
	}
	for k, it := range a.items {
		other, ok := b.items[k]
		if !ok || it.Version != other.Version || !bytes.Equal(it.Value, other.Value) {
			return false
		}
	}
	return true
}

// describe returns a call in words, with the times at which it began and ended.
func describe(o porcupine.Operation) string {
	c, r := o.Input.(call), o.Output.(result)
	text := fmt.Sprintf("client %d, %d–%d µs: ", o.ClientId, o.Call/1000, o.Return/1000)
	if r.unknown {
		text = fmt.Sprintf("client %d, from %d µs: ", o.ClientId, o.Call/1000)
	}
	switch {
	case c.get != nil:
		return text + fmt.Sprintf("get %q → %s", c.get, showVersioned(r.items))
	case c.many != nil:
		return text + fmt.Sprintf("get many %q → %s", c.many, showVersioned(r.items))
	case c.scan != nil:
		return text + fmt.Sprintf("scan %s → %s next %q, version %d", showQuery(*c.scan), showVersioned(r.page.Items), r.page.Next, r.page.Version)
	}
	text += fmt.Sprintf("apply %s: %s → ", showChecks(c.apply.Checks), showOps(c.apply.Ops))
	switch {
	case r.unknown:
		return text + "outcome unknown"
	case r.refused:
		return text + fmt.Sprint("conflict in check ", r.failed)
	}
	return text + fmt.Sprint("version ", r.version)
}

func showVersioned(items []storage.Item) string {
	text := "nothing"
	for i, it := range items {
		if i == 0 {
			text = ""
		}
		text += fmt.Sprintf("%q=%s@%d; ", it.Key, quote(it.Value), it.Version)
	}
	return text
}
