package pebble

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// changeLog holds what is kept of the changes of a store, if the configuration wants it: a
// record for each version, in the same batch as what it did. It belongs to who leads the
// queue.
//
// Records are counted in parts, of which the oldest is dropped as a whole when the log is too
// large or the part too old.
type changeLog struct {
	parts []part // oldest first; the last one grows
	bytes int64  // of all
	shown atomic.Int64
	made  []byte // a record that is being made
	did   []bool // which of the ops of a write set did anything
}

// part is some of the log's records, of versions that follow each other.
type part struct {
	after uint64 // the version before its first record
	at    int64  // ms when it began; not kept of one that is complete
	until int64  // ms of its last record
	bytes int64  // of keys and values of its records
}

// About how many parts a full log has, and how few bytes one has at least.
const (
	mostParts = 64
	leastPart = 64 << 10
)

func (c *Config) partBytes() int64 { return max(int64(c.ChangesSize)/mostParts, leastPart) }
func (c *Config) partAge() int64 {
	return max(time.Duration(c.ChangesAge).Milliseconds()/mostParts, 1)
}

// log writes what a write set did into the batch, at a version.
func (g *group) log(w *storage.WriteSet, version uint64) error {
	l := &g.b.changes
	l.made = l.made[:0]
	for i := range w.Ops {
		if l.did[i] {
			l.made = durable.AppendChange(l.made, &w.Ops[i], g.now)
		}
	}
	return g.logged(version)
}

// expired writes that an item has expired into the batch, at a version of its own.
func (g *group) expired(key []byte) error {
	l := &g.b.changes
	g.version++
	l.made = durable.AppendExpiry(l.made[:0], key)
	return g.logged(g.version)
}

// logged puts the record that was made into the batch.
func (g *group) logged(version uint64) error {
	l := &g.b.changes
	n := int64(len(l.made)) + 9
	grows := &l.parts[len(l.parts)-1]
	grows.bytes += n
	grows.until = g.now
	l.bytes += n
	d := g.batch.SetDeferred(9, len(l.made))
	d.Key[0] = spaceChange
	binary.BigEndian.PutUint64(d.Key[1:], version)
	copy(d.Value, l.made)
	err := d.Finish()
	if cap(l.made) > leastPart {
		l.made = nil
	}
	return err
}

// turn ends the part that grows where it is large or old enough, and drops parts that the
// log is not to keep any more.
func (g *group) turn() error {
	b := g.b
	l := &b.changes
	grows := l.parts[len(l.parts)-1]
	if grows.bytes > 0 && (grows.bytes >= b.config.partBytes() || g.now-grows.at >= b.config.partAge()) {
		if err := g.batch.Set(partKey(grows.after), grows.facts(), nil); err != nil {
			return err
		}
		l.parts = append(l.parts, part{after: g.version, at: g.now, until: g.now})
	}
	n := 0
	for n < len(l.parts)-1 && (l.bytes > int64(b.config.ChangesSize) || g.now-l.parts[n].until >= time.Duration(b.config.ChangesAge).Milliseconds()) {
		l.bytes -= l.parts[n].bytes
		n++
	}
	l.shown.Store(l.bytes)
	if n == 0 {
		return nil
	}
	l.parts = append(l.parts[:0], l.parts[n:]...)
	return begins(g.batch, l.parts[0].after)
}

// begins has the log begin after a version: what is before it is dropped.
func begins(batch *pebble.Batch, first uint64) error {
	for _, space := range []byte{spaceChange, spacePart, spaceGap} {
		end := append([]byte{space}, eight(first)...)
		if space != spacePart {
			end = append(end, 0) // a record at first, or a gap that ends there, is of no use
		}
		if err := batch.DeleteRange([]byte{space}, end, nil); err != nil {
			return err
		}
	}
	return batch.Set(metaChanges, eight(first), nil)
}
