package wrappers

import (
	"encoding/binary"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What a changeLog keeps at most, and the sizes of its blocks: each is twice as large as the
// one before it, up to the largest.
const (
	mostChanges      = 1 << 16
	mostChangesBytes = 16 << 20
	firstBlock       = 4 << 10
	largestBlock     = 32 << 10
	bytesPerSet      = 64 // of a block's data, for each write set that the block has room for
	mostPlainOps     = 16
	enoughSets       = 1000
	mostPlainBytes   = 4 << 10
)

// changeLog keeps the latest changes of a store, in the order of their versions. They are
// encoded, in blocks without pointers: keeping a change allocates nothing, and the garbage
// collector has nothing to follow. What has been added never changes.
type changeLog struct {
	blocks []*logBlock
	spare  *logBlock // that was let go and is used again; nil if none
	count  int       // changes
	bytes  int       // of the blocks, used or not
	begun  bool      // a block, since the log was trimmed
}

// logBlock is a part of a changeLog. Only the last block of a log grows, within its capacity.
type logBlock struct {
	data  []byte
	sets  []loggedSet
	count int // changes
	// readers counts those who look at the block: as long as there are any, it is not used again.
	readers int
}

// loggedSet is one write set in a block.
type loggedSet struct {
	version uint64
	made    time.Duration // when, since the ring was begun, or earlier
	end     int           // of its changes in the block's data
}

// add adds the changes of a write set, which are in two parts.
func (l *changeLog) add(version uint64, made time.Duration, count int, first, rest []byte) {
	b := l.room(len(first) + len(rest))
	b.data = append(append(b.data, first...), rest...)
	l.added(b, version, made, count)
}

// addPlain adds the changes of a plain write set.
func (l *changeLog) addPlain(version uint64, made time.Duration, w *storage.WriteSet, size int) {
	b := l.room(size)
	for i := range w.Ops {
		c := storage.OpChange(&w.Ops[i], 0)
		b.data = appendChange(b.data, &c)
	}
	l.added(b, version, made, len(w.Ops))
}

// plain returns the size of the changes of w, which can be encoded while others wait:
// few, small, none that expires and none of the host's own items. It returns 0 for other changes.
func plain(w *storage.WriteSet) (size int) {
	if len(w.Ops) > mostPlainOps {
		return 0
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		if !o.ExpiresAt.IsZero() || reserved(o.Key) {
			return 0
		}
		size += changeHead + len(o.Key) + len(o.End) + len(o.Value)
	}
	if size > mostPlainBytes {
		return 0
	}
	return size
}

func (l *changeLog) added(b *logBlock, version uint64, made time.Duration, count int) {
	b.sets = append(b.sets, loggedSet{version, made, len(b.data)})
	b.count += count
	l.count += count
}

// room returns the block that takes a write set of size bytes.
func (l *changeLog) room(size int) *logBlock {
	next := firstBlock
	if n := len(l.blocks); n > 0 {
		last := l.blocks[n-1]
		if len(last.data)+size <= cap(last.data) && len(last.sets) < cap(last.sets) {
			return last
		}
		next = min(2*cap(last.data), largestBlock)
	}
	next = max(next, size)
	b := l.spare
	if l.spare = nil; b == nil || cap(b.data) < next {
		b = newBlock(next)
	}
	l.blocks, l.begun = append(l.blocks, b), true
	l.bytes += b.size()
	return b
}

func newBlock(size int) *logBlock {
	return &logBlock{data: make([]byte, 0, size), sets: make([]loggedSet, 0, max(size/bytesPerSet, 1))}
}

func (b *logBlock) size() int { return cap(b.data) + cap(b.sets)*24 }

// trim lets the oldest blocks go while there are more changes, or bytes, than are kept.
// It returns the last version that is gone, or 0 if none is. The last block stays.
func (l *changeLog) trim() (gone uint64) {
	l.begun = false
	for len(l.blocks) > 1 && (l.bytes > mostChangesBytes || l.count-l.blocks[0].count >= mostChanges) {
		b := l.blocks[0]
		gone = b.sets[len(b.sets)-1].version
		l.count -= b.count
		l.bytes -= b.size()
		if l.blocks = slices.Clone(l.blocks[1:]); b.readers == 0 && cap(b.data) == largestBlock {
			b.data, b.sets, b.count = b.data[:0], b.sets[:0], 0
			l.spare = b
		}
	}
	return gone
}

// logView is what a changeLog has after a version, at one moment. It may be read while the log
// grows, until the reader calls done.
type logView struct {
	full []*logBlock // that grow no more
	last logBlock    // the last one as it was
	now  *logBlock   // the last one; nil if the log is empty
}

func (l *changeLog) view(after uint64) logView {
	n := len(l.blocks) - 1
	if n < 0 {
		return logView{}
	}
	first := sort.Search(n, func(i int) bool { return l.blocks[i].sets[len(l.blocks[i].sets)-1].version > after })
	for _, b := range l.blocks[first:] {
		b.readers++
	}
	return logView{l.blocks[first:n:n], *l.blocks[n], l.blocks[n]}
}

// done lets go of the blocks. It is called with the lock under which the log changes.
func (v *logView) done() {
	for _, b := range v.full {
		b.readers--
	}
	if v.now != nil {
		v.now.readers--
	}
}

// later returns how many write sets there are after a version, or more than enough for most pages.
func (v *logView) later(version uint64) (n int) {
	for i := len(v.full); i >= 0 && n < enoughSets; i-- {
		b := &v.last
		if i < len(v.full) {
			b = v.full[i]
		}
		n += len(b.sets) - sort.Search(len(b.sets), func(i int) bool { return b.sets[i].version > version })
		if len(b.sets) == 0 || b.sets[0].version <= version {
			break
		}
	}
	return n
}

// all returns every write set after a version, with its changes as appendChange encodes them.
func (v *logView) all(after uint64) iter.Seq2[loggedSet, []byte] {
	return func(yield func(loggedSet, []byte) bool) {
		at := sort.Search(len(v.full), func(i int) bool { return v.full[i].sets[len(v.full[i].sets)-1].version > after })
		for ; at <= len(v.full); at++ {
			b := &v.last
			if at < len(v.full) {
				b = v.full[at]
			}
			for i := sort.Search(len(b.sets), func(i int) bool { return b.sets[i].version > after }); i < len(b.sets); i++ {
				begin := 0
				if i > 0 {
					begin = b.sets[i-1].end
				}
				if !yield(b.sets[i], b.data[begin:b.sets[i].end]) {
					return
				}
			}
		}
	}
}

// encoded is the changes of one write set: see appendChange.
type encoded struct {
	data    []byte
	count   int
	id      [16]byte
	version uint64
	stores  bool       // a put is in it
	expires bool       // a put that expires is in it
	gone    []expiring // what expires at the version, if it still is then as it was
}

// changeHead counts the bytes of an encoded change without key, end and value: kind, whether
// it has an end, the expiry in milliseconds or 0, and the lengths of key, end and value.
const changeHead = 2 + 8 + 3*4

// appendChange appends a change without its version.
func appendChange(to []byte, c *storage.Change) []byte {
	var head [changeHead]byte
	head[0] = byte(c.Kind)
	if c.End != nil {
		head[1] = 1
	}
	if !c.ExpiresAt.IsZero() {
		binary.LittleEndian.PutUint64(head[2:], uint64(c.ExpiresAt.UnixMilli()))
	}
	binary.LittleEndian.PutUint32(head[10:], uint32(len(c.Key)))
	binary.LittleEndian.PutUint32(head[14:], uint32(len(c.End)))
	binary.LittleEndian.PutUint32(head[18:], uint32(len(c.Value)))
	return append(append(append(append(to, head[:]...), c.Key...), c.End...), c.Value...)
}

// nextChange decodes the first change in data, whose bytes it shares, and what is behind it.
func nextChange(data []byte, version uint64) (c storage.Change, rest []byte) {
	head, rest := data[:changeHead], data[changeHead:]
	next := func(at int) (b []byte) {
		n := binary.LittleEndian.Uint32(head[at:])
		b, rest = rest[:n:n], rest[n:]
		return b
	}
	c.Kind, c.Version = storage.ChangeKind(head[0]), version
	c.Key, c.End = next(10), next(14)
	if head[1] == 0 {
		c.End = nil
	}
	if c.Value = next(18); c.Kind != storage.ChangePut {
		c.Value = nil
	}
	if ms := binary.LittleEndian.Uint64(head[2:]); ms != 0 {
		c.ExpiresAt = time.UnixMilli(int64(ms)).UTC()
	}
	return c, rest
}

// encodings are those that are used again, unless they are large.
var encodings = sync.Pool{New: func() any { return new(encoded) }}

func (s *encoded) free() {
	if cap(s.data) <= largestBlock {
		encodings.Put(s)
	}
}

// encode returns the changes of a write set. What has expired by now is a delete, and what is the
// host's own is none.
func (h *Hub) encode(w *storage.WriteSet) *encoded {
	s := encodings.Get().(*encoded)
	*s = encoded{data: s.data[:0], id: w.ID}
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind != storage.OpDeleteRange && reserved(o.Key) {
			continue
		}
		c := storage.OpChange(o, 0)
		if !c.ExpiresAt.IsZero() {
			if storage.Expired(c.ExpiresAt, h.clock()) {
				c = storage.Change{Kind: storage.ChangeDelete, Key: c.Key}
			}
			c.ExpiresAt = storage.ClampExpiry(c.ExpiresAt)
		}
		s.data = appendChange(s.data, &c)
		s.count++
		s.stores = s.stores || c.Kind == storage.ChangePut
		s.expires = s.expires || !c.ExpiresAt.IsZero()
	}
	return s
}
