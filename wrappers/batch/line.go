package batch

import (
	"github.com/plinthkv/plinth/internal/keyrange"
	"github.com/plinthkv/plinth/storage"
)

// line holds the writes that wait or are under way, and which of them wait for which. It
// knows for each key who touched it last: whoever comes next waits for that one alone,
// which waits for those before it. So a write costs its own keys and ranges, whatever else
// is in the line.
type line struct {
	all   []*entry          // in the order of arrival
	last  map[string]*entry // by key, as long as nothing touches a range
	parts *keyrange.Map[part]
	// live and stale count ops and checks: of those that wait or are under way, and
	// of those that have gone since the line was made anew.
	live, stale int
}

// part is a range of keys, from where it is stored on, that owner touched last.
type part struct {
	end   string // where open is false
	open  bool   // it has no end
	owner *entry
}

// beyond reports whether p ends after end.
func (p part) beyond(end []byte) bool {
	return end != nil && (p.open || p.end > string(end))
}

// each calls f with what w touches until it returns true: keys, whose end is nil and
// ranged false, and ranges.
func each(w *storage.WriteSet, f func(start, end []byte, ranged bool) bool) bool {
	for i := range w.Ops {
		o := &w.Ops[i]
		ranged := o.Kind == storage.OpDeleteRange
		if !(ranged && storage.EmptyRange(o.Key, o.End)) && f(o.Key, o.End, ranged) {
			return true
		}
	}
	for i := range w.Checks {
		c := &w.Checks[i]
		ranged := c.Kind == storage.CheckRange
		if !(ranged && storage.EmptyRange(c.Key, c.End)) && f(c.Key, c.End, ranged) {
			return true
		}
	}
	return false
}

// meets reports whether w touches what a write in the line does.
func (l *line) meets(w *storage.WriteSet) bool {
	return len(l.all) > 0 && each(w, func(start, end []byte, ranged bool) bool {
		if !ranged && l.parts == nil {
			p := l.last[string(start)]
			return p != nil && !p.departed
		}
		return l.meetsRange(bounds(start, end, ranged))
	})
}

func (l *line) meetsRange(start, end []byte) (met bool) {
	l.divide()
	if _, p, ok := l.parts.Floor(start); ok && !p.owner.departed && (p.open || p.end > string(start)) {
		return true
	}
	left := 0 // parts of entries that have gone, not to be looked at again
	until := end
	l.parts.Ascend(start, end, func(at string, p part) bool {
		if met = !p.owner.departed; met {
			until = []byte(at)
			return false
		}
		left++
		return true
	})
	if left > 0 {
		l.parts.Cut(start, until, nil)
	}
	return met
}

// bounds returns those of a range, or of a key alone.
func bounds(start, end []byte, ranged bool) (from, to []byte) {
	if ranged {
		return start, end
	}
	return start, storage.After(start)
}

// divide goes over from keys to parts.
func (l *line) divide() {
	if l.parts != nil {
		return
	}
	l.parts = &keyrange.Map[part]{}
	for key, owner := range l.last {
		if !owner.departed {
			l.parts.SetString(key, part{end: key + "\x00", owner: owner})
		}
	}
	l.last = nil
}

// add puts e at the end.
func (l *line) add(e *entry) {
	l.all = append(l.all, e)
	l.live += e.count
	each(e.w, func(start, end []byte, ranged bool) bool {
		if ranged || l.parts != nil {
			l.claim(e, start, end, ranged)
			return false
		}
		if l.last == nil {
			l.last = map[string]*entry{}
		}
		e.follow(l.last[string(start)])
		l.last[string(start)] = e
		return false
	})
}

// claim makes e the last that touched a range, or a key.
func (l *line) claim(e *entry, start, end []byte, ranged bool) {
	l.divide()
	start, end = bounds(start, end, ranged)
	own := part{end: string(end), open: end == nil, owner: e}
	var rest *part // what reaches beyond the end
	if at, p, ok := l.parts.Floor(start); ok && at < string(start) && (p.open || p.end > string(start)) {
		e.follow(p.owner)
		l.parts.SetString(at, part{end: string(start), owner: p.owner})
		if p.beyond(end) {
			rest = &p
		}
	}
	l.parts.Cut(start, end, func(_ string, p part) {
		e.follow(p.owner)
		if p.beyond(end) {
			rest = &p
		}
	})
	if rest != nil {
		l.parts.Set(end, *rest)
	}
	l.parts.Set(start, own)
}

// depart removes entries that are not in flight any more, and calls free with each one
// that no other holds up now.
func (l *line) depart(gone []*entry, free func(*entry)) {
	for len(gone) > 0 {
		e := gone[len(gone)-1]
		gone = gone[:len(gone)-1]
		e.departed = true
		l.live -= e.count
		l.stale += e.count
		for _, next := range e.next {
			if next.blocked--; next.blocked > 0 || next.departed {
				continue
			}
			if next.gone {
				gone = append(gone, next)
			} else {
				free(next)
			}
		}
		e.next = nil
	}
}

// tidy forgets entries that have gone, once they are as many as the others, so that each
// is looked at only a few times. It calls free with each entry that no other holds up
// then.
func (l *line) tidy(free func(*entry)) {
	switch {
	case l.live == 0:
		clear(l.all)
		l.all, l.parts, l.stale = l.all[:0], nil, 0
		if len(l.last) > 1024 {
			l.last = nil // to clear a map takes as long as it has ever been large
		}
		clear(l.last)
		return
	case l.stale <= l.live+64:
		return
	}
	old := l.all
	*l = line{}
	for _, e := range old {
		if e.departed || e.gone && !e.sent {
			e.departed = true
			continue
		}
		held := e.blocked > 0
		e.blocked, e.next = 0, nil
		l.add(e)
		if held && e.blocked == 0 && !e.sent {
			free(e)
		}
	}
}
