package memory

import "github.com/tidwall/btree"

// How many snapshots are kept, and for how many ms.
const (
	snapshotsKept = 8
	snapshotLife  = 60_000
)

// snapshots are earlier states that scans go on in. They are a courtesy: they
// go when there are too many, when they are old, and when the entries that only
// they hold would not fit the budget.
type snapshots struct {
	kept     []snapshot // oldest first
	retained int64      // bytes of entries that have left the tree since the first
}

type snapshot struct {
	version uint64
	until   int64 // ms
	tree    *btree.Map[string, *entry]
}

func (s *snapshots) find(version uint64, now int64) *btree.Map[string, *entry] {
	for _, k := range s.kept {
		if k.version == version && k.until > now {
			return k.tree
		}
	}
	return nil
}

// keep makes a snapshot of tree, or lets the one that there is live longer.
func (s *snapshots) keep(version uint64, now int64, tree *btree.Map[string, *entry]) {
	until := now + snapshotLife
	if n := len(s.kept); n > 0 && s.kept[n-1].version == version {
		s.kept[n-1].until = until
		return
	}
	if len(s.kept) == snapshotsKept {
		s.drop(1)
	}
	s.kept = append(s.kept, snapshot{version, until, tree.Copy()})
}

// retain counts bytes that have left the tree and are held by a snapshot.
func (s *snapshots) retain(bytes int64) {
	if len(s.kept) > 0 {
		s.retained += bytes
	}
}

// trim drops what is too old or does not fit into spare bytes.
func (s *snapshots) trim(now, spare int64) {
	if len(s.kept) == 0 {
		return
	}
	if s.retained > spare {
		s.drop(len(s.kept))
	}
	for len(s.kept) > 0 && s.kept[0].until <= now {
		s.drop(1)
	}
}

// drop lets the n oldest go. What the others retain is not known any better
// than before, unless none are left.
func (s *snapshots) drop(n int) {
	kept := copy(s.kept, s.kept[n:])
	clear(s.kept[kept:])
	if s.kept = s.kept[:kept]; kept == 0 {
		s.retained = 0
	}
}
