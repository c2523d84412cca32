package memory

import "math/bits"

// How many snapshots are kept, and for how many ms.
const (
	snapshotsKept = 8
	snapshotLife  = 60_000
)

// deadLists is how many lists of dead items there are: of the snapshots, and of some
// that were let go and whose items are not all gone yet.
const deadLists = 16

// drainPerCall is how many dead items that no snapshot sees go with a call.
const drainPerCall = 64

// snapshots are versions at which scans go on. They are a courtesy: they go when
// there are too many, when they are old, and when what only they see would not fit.
//
// An item that is replaced or removed while the latest snapshot sees it is dead: it
// stays in the tree, and in the list of that snapshot. Only that snapshot and older
// ones see it, so when the oldest snapshot goes, no other sees the items in its list.
// They are removed little by little.
type snapshots struct {
	kept  []snapshot // oldest first
	lists [deadLists]ref
}

type snapshot struct {
	version uint64
	until   int64 // ms
	list    int   // of the items that died while it was the latest
}

// seen reports whether a snapshot sees a live item.
func (s *store) seen(r ref) bool {
	n := len(s.snapshots.kept)
	return n > 0 && s.item(r).version() <= s.snapshots.kept[n-1].version-s.base
}

// find returns which snapshot has a version; -1: none that lives.
func (s *snapshots) find(version uint64, now int64) int {
	for i, k := range s.kept {
		if k.version == version && k.until > now {
			return i
		}
	}
	return -1
}

// sees reports whether snapshot i sees an item.
func (s *store) sees(i int, b item) bool {
	kept := s.snapshots.kept
	if b.version() > kept[i].version-s.base {
		return false
	}
	if !b.dead() {
		return true
	}
	for ; i < len(kept); i++ { // it died while this one, or a later one, was the latest
		if kept[i].list == b.list() {
			return true
		}
	}
	return false
}

// keep makes a snapshot of the present, or lets the one that there is live longer.
// It makes none while too many items of former ones are not gone.
func (s *store) keep(now int64) {
	kept := &s.snapshots.kept
	until := now + snapshotLife
	if n := len(*kept); n > 0 && (*kept)[n-1].version == s.version {
		(*kept)[n-1].until = until
		return
	}
	if len(*kept) == snapshotsKept {
		s.letGo(1)
	}
	s.drain(drainPerCall)
	if free := s.freeLists(); free != 0 {
		*kept = append(*kept, snapshot{s.version, until, bits.TrailingZeros16(free)})
	}
}

// freeLists has a bit for each list that no snapshot has and that is empty.
func (s *store) freeLists() (free uint16) {
	for i, first := range s.snapshots.lists {
		if first == 0 {
			free |= 1 << i
		}
	}
	return free &^ s.usedLists()
}

func (s *store) usedLists() (used uint16) {
	for _, k := range s.snapshots.kept {
		used |= 1 << k.list
	}
	return used
}

// letGo drops the n oldest.
func (s *store) letGo(n int) {
	s.snapshots.kept = append(s.snapshots.kept[:0], s.snapshots.kept[n:]...)
}

// trim drops old snapshots, and removes some of the unseen dead items.
func (s *store) trim(now int64) {
	for len(s.snapshots.kept) > 0 && s.snapshots.kept[0].until <= now {
		s.letGo(1)
	}
	if s.dead > 0 {
		s.drain(drainPerCall)
	}
}

// kill has a live item be seen by snapshots alone.
func (s *store) kill(r ref) {
	b := s.item(r)
	s.unlinkLive(r, b, s.key(b))
	have := b.shape()
	s.dead += have.charge()
	list := s.snapshots.kept[len(s.snapshots.kept)-1].list
	first := s.snapshots.lists[list]
	b[0] = b[0]&^slotBits | flagDead | byte(list)
	b.setNext(first)
	b.setBefore(0)
	if first != 0 {
		s.item(first).setBefore(r)
	}
	s.snapshots.lists[list] = r
}

// drain removes at most n unseen dead items.
func (s *store) drain(n int) {
	if s.dead == 0 {
		return
	}
	used := s.usedLists()
	for i := range s.snapshots.lists {
		for first := &s.snapshots.lists[i]; used>>i&1 == 0 && *first != 0; n-- {
			if n == 0 {
				return
			}
			s.bury(first)
		}
	}
}

// bury takes out the first of a list.
func (s *store) bury(first *ref) {
	r := *first
	b := s.item(r)
	have := b.shape()
	s.dead -= have.charge()
	if *first = b.next(); *first != 0 {
		s.item(*first).setBefore(0)
	}
	s.all.delete(keyTarget(s.key(b), b.version()))
	s.drop(r)
}

// room drops snapshots, and what only they see, if that is more than so many bytes;
// below 0: nothing may be kept for them.
func (s *store) room(spare int64) {
	if s.dead <= spare {
		return
	}
	s.letGo(len(s.snapshots.kept))
	for s.dead > max(spare, 0) {
		s.drain(drainPerCall)
	}
}
