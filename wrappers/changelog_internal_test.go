package wrappers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// What a reader sees stays as it is while all of it is let go, and other blocks are used again,
// and these once there is no reader.
func TestViewStays(t *testing.T) {
	var l changeLog
	version := uint64(0)
	write := func(n int) {
		for range n {
			version++
			w := &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Append(nil, version), make([]byte, 100))}}
			l.addPlain(version, 0, w, plain(w))
			if l.begun {
				l.trim()
			}
		}
	}
	read := func(v *logView, from, to uint64) {
		t.Helper()
		for set, data := range v.all(from - 1) {
			c, rest := nextChange(data, set.version)
			if set.version != from || string(c.Key) != fmt.Sprint(from) || len(c.Value) != 100 || len(rest) > 0 {
				t.Fatalf("version %d is %d: key %q, %d bytes, %d more", from, set.version, c.Key, len(c.Value), len(rest))
			}
			from++
		}
		if from != to+1 {
			t.Fatalf("it ends before version %d, want %d", from, to)
		}
	}
	write(1000)
	v := l.view(0)
	read(&v, 1, 1000)
	write(4 * mostChanges)
	read(&v, 1, 1000)
	read(&v, 800, 1000)
	for _, b := range append(v.full, v.now) {
		if b == l.spare || slices.Contains(l.blocks, b) {
			t.Error("a block that is read is used again")
		}
	}
	v.done()
	write(1000)
	for used := map[*logBlock]bool{}; !used[l.spare]; write(1) {
		if l.spare != nil {
			used[l.spare] = true
		}
		if version > 8*mostChanges {
			t.Fatal("no block was used twice")
		}
	}
	v = l.view(0)
	read(&v, version-50_000, version)
	if l.count < mostChanges || l.count > mostChanges+1000 || l.bytes > mostChangesBytes {
		t.Errorf("%d changes and %d bytes are kept", l.count, l.bytes)
	}
}
