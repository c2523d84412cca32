package cache

import (
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/keyrange"
	"github.com/plinthkv/plinth/storage"
)

// guard decides what may be kept: it knows which keys are being written and
// which reads are on their way. It is the watcher of the hub.
type guard struct {
	mu      sync.Mutex
	entries kept
	hold    time.Duration
	now     func() int64 // ms since 1970
	writing touched
	flights keyrange.Map[*flight]
	held    []held // of unknown outcome, the first to end first
	all     int64  // ms since 1970: until then, all keys are held
	closed  bool   // nothing is kept any more: writes are not heard of
	// permanent are keys that were written without expiry through this host; nil if reads
	// report the expiry, or nothing ever expires. contended are those that several writes
	// in flight touch: which of them was last is not known.
	permanent *keyrange.Map[struct{}]
	contended map[string]struct{}
}

// flight is a read from below that others may wait for. One that a write has
// overtaken is no longer among the guard's flights, and is not kept. What it has read
// may have ended when it returns, which does not affect those who came later.
type flight struct {
	key   string
	done  chan struct{}
	entry *entry // set before done is closed; nil if the read failed
	until int64  // likewise; ms since 1970: whoever asks later reads itself
}

// held holds the keys and ranges of a write that may still be going on.
type held struct {
	keys   []string
	ranges []storage.Op
	until  int64 // ms since 1970
}

// maxKnown bounds the keys that are remembered beyond calls: permanent and held.
const maxKnown = 1 << 16

func newGuard(entries kept, hold time.Duration, now func() int64, caps storage.Caps) *guard {
	g := &guard{entries: entries, hold: hold, now: now, writing: touched{keys: map[string]int{}}}
	if caps.Has(storage.CapTTL) && !caps.Has(storage.CapExpiryOnRead) {
		g.permanent, g.contended = &keyrange.Map[struct{}]{}, map[string]struct{}{}
	}
	return g
}

// begin registers a read of key, or joins one: then leads is false. It returns nil if
// the key is being written, or the cache closed.
func (g *guard) begin(key []byte) (f *flight, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.letGo()
	if g.closed || g.now() < g.all || g.writing.has(key) {
		return nil, false
	}
	if f, ok := g.flights.Get(key); ok {
		return f, false
	}
	f = &flight{key: string(key), done: make(chan struct{})}
	g.flights.SetString(f.key, f)
	return f, true
}

// end keeps what f has read, unless a write came in between.
func (g *guard) end(f *flight) {
	g.mu.Lock()
	current, _ := g.flights.GetString(f.key)
	if f.entry != nil && g.endKnown(f) {
		f.until = max(f.until, f.entry.until-1)
		if current == f && g.now() < f.entry.until {
			g.entries.set(f.key, f.entry)
		}
	}
	if current == f {
		g.flights.DeleteString(f.key)
	}
	g.mu.Unlock()
	close(f.done)
}

// endKnown reports whether it is known when the item that f has read ends.
func (g *guard) endKnown(f *flight) bool {
	if g.permanent == nil || !f.entry.present {
		return true
	}
	_, ok := g.permanent.GetString(f.key)
	return ok
}

// Begin takes the keys of w out until its End.
func (g *guard) Begin(w *storage.WriteSet) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.contend(w)
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			g.writing.addRange(o.Key, o.End, 1)
			g.dropRange(o.Key, o.End)
		} else {
			g.writing.keys[string(o.Key)]++
			g.drop(string(o.Key))
		}
	}
}

// End lets the keys of w be kept again, at once or, where its outcome is not
// known, later. After a Conflict the checked keys go: they may be outdated.
func (g *guard) End(w *storage.WriteSet, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if storage.Unknown(err) && g.hold > 0 {
		g.keepHeld(w)
		return
	}
	if storage.CodeOf(err) == storage.Conflict {
		g.dropChecked(w)
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			g.writing.addRange(o.Key, o.End, -1)
		} else {
			g.writing.remove(string(o.Key))
		}
	}
	if g.permanent != nil {
		g.remember(w, err == nil)
	}
}

// Others takes out what others have written. A read that was in flight is not kept.
func (g *guard) Others(w *storage.WriteSet) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == storage.OpDeleteRange {
			g.dropRange(o.Key, o.End)
		} else {
			g.drop(string(o.Key))
		}
	}
}

// contend notes the keys of w that another write in flight touches, or may.
func (g *guard) contend(w *storage.WriteSet) {
	if g.permanent == nil {
		return
	}
	all := g.now() < g.all
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind != storage.OpDeleteRange && (all || g.writing.keys[string(o.Key)] > 0) {
			g.contended[string(o.Key)] = struct{}{}
		}
	}
}

// remember notes which keys w has left without expiry: its last word on each
// counts, and only where no other write may have had one after it.
func (g *guard) remember(w *storage.WriteSet, applied bool) {
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			g.forget(o.Key, o.End)
			continue
		}
		key := string(o.Key)
		if _, contended := g.contended[key]; !applied || contended || o.Kind != storage.OpPut || !o.ExpiresAt.IsZero() {
			g.permanent.DeleteString(key)
			continue
		}
		if g.permanent.Len() >= maxKnown {
			*g.permanent = keyrange.Map[struct{}]{}
		}
		g.permanent.SetString(key, struct{}{})
	}
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind != storage.OpDeleteRange {
			g.settle(string(o.Key))
		}
	}
}

// settle ends the contention for a key that is no longer being written.
func (g *guard) settle(key string) {
	if g.writing.keys[key] == 0 {
		delete(g.contended, key)
	}
}

// forget drops what is known of the expiry of keys in [start, end).
func (g *guard) forget(start, end []byte) {
	if g.permanent != nil {
		g.permanent.Cut(start, end, nil)
	}
}

// Lost empties the cache; reads on their way are not kept.
func (g *guard) Lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropRange(nil, nil)
	for _, h := range g.held {
		g.release(h)
	}
	g.held, g.all = nil, 0
}

// close empties the cache for good.
func (g *guard) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.Lost()
}

func (g *guard) drop(key string) {
	g.flights.DeleteString(key)
	if g.permanent != nil {
		g.permanent.DeleteString(key)
	}
	g.entries.Invalidate(key)
}

func (g *guard) dropRange(start, end []byte) {
	g.flights.Cut(start, end, nil)
	g.forget(start, end)
	g.entries.dropRange(start, end)
}

func (g *guard) dropChecked(w *storage.WriteSet) {
	for i := range w.Checks {
		if c := &w.Checks[i]; c.Kind == storage.CheckRange {
			g.dropRange(c.Key, c.End)
		} else {
			g.drop(string(c.Key))
		}
	}
}

// keepHeld leaves the keys of w among those being written for a while. Too many
// of them count as all keys there are.
func (g *guard) keepHeld(w *storage.WriteSet) {
	g.letGo()
	h := held{until: g.now() + g.hold.Milliseconds()}
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind != storage.OpDeleteRange {
			h.keys = append(h.keys, string(o.Key))
			continue
		}
		h.ranges = append(h.ranges, storage.DeleteRange(clone(o.Key), clone(o.End)))
	}
	if len(g.writing.keys)+g.writing.rangeCount > maxKnown {
		g.release(h)
		g.all = h.until
		g.dropRange(nil, nil)
		return
	}
	g.held = append(g.held, h)
}

// letGo ends the holds whose time is over.
func (g *guard) letGo() {
	if len(g.held) == 0 {
		return
	}
	now := g.now()
	for len(g.held) > 0 && now >= g.held[0].until {
		g.release(g.held[0])
		g.held = g.held[1:]
	}
}

func (g *guard) release(h held) {
	for _, key := range h.keys {
		g.writing.remove(key)
		g.settle(key)
	}
	for _, r := range h.ranges {
		g.writing.addRange(r.Key, r.End, -1)
	}
}

// clone keeps nil, an unbounded end, apart from empty.
func clone(key []byte) []byte {
	if key == nil {
		return nil
	}
	return append([]byte{}, key...)
}
