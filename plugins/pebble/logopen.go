package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// mostGaps limits the gaps of a log: with more it begins anew.
const mostGaps = 1000

// openLog reads what the log is, or begins it at the present version; anew: whatever is
// there is of another state. Without a log, what is left of one is dropped.
func (b *Backend) openLog(batch *pebble.Batch, anew bool) error {
	_, kept, err := fact(b.db, metaChanges)
	switch {
	case err != nil:
		return err
	case !b.config.Changes && kept:
		return dropLog(batch)
	case !b.config.Changes:
		return nil
	}
	gaps, err := b.count(spaceGap, mostGaps)
	switch {
	case err != nil:
		return err
	case !kept || anew || gaps == mostGaps:
		if err := dropLog(batch); err != nil {
			return err
		}
		b.changes.parts = []part{{after: b.version, at: b.now(), until: b.now()}}
		return begins(batch, b.version)
	}
	last, err := b.readLog()
	if err != nil {
		return err
	}
	if b.version > last+1 {
		// No write has a version between the two: a follower that has one comes from a state
		// that was replaced by an older copy.
		return batch.Set(gapKey(b.version), eight(last), nil)
	}
	return nil
}

// dropLog drops everything of a log.
func dropLog(batch *pebble.Batch) error {
	var errs []error
	for _, space := range []byte{spaceChange, spacePart, spaceGap} {
		errs = append(errs, batch.DeleteRange([]byte{space}, []byte{space + 1}, nil))
	}
	return errors.Join(append(errs, batch.Delete(metaChanges, nil))...)
}

// readLog reads the parts of the log, of which the one that grows is counted, and the last
// version that the store is known to have been at.
func (b *Backend) readLog() (last uint64, err error) {
	l := &b.changes
	if last, err = number(b.db, metaChanges); err != nil {
		return 0, err
	}
	err = b.each([]byte{spacePart}, func(key, value []byte) error {
		p, err := readPart(key, value)
		l.parts = append(l.parts, p)
		l.bytes += p.bytes
		return err
	})
	if err != nil {
		return 0, err
	}
	grows := part{after: last, at: b.now(), until: b.now()}
	if n := len(l.parts); n > 0 { // what comes after the last complete one is counted with it
		grows.after = l.parts[n-1].after
		l.bytes -= l.parts[n-1].bytes
		l.parts = l.parts[:n-1]
	}
	last = grows.after
	err = b.each(changeKey(grows.after+1), func(key, value []byte) error {
		if len(key) != 9 {
			return fmt.Errorf("a record of the log of changes is damaged")
		}
		last = binary.BigEndian.Uint64(key[1:])
		grows.bytes += int64(len(key) + len(value))
		return nil
	})
	if err != nil {
		return 0, err
	}
	l.parts = append(l.parts, grows)
	l.bytes += grows.bytes
	l.shown.Store(l.bytes)
	err = b.each([]byte{spaceGap}, func(key, _ []byte) error { // it was opened there, and nothing may have been written
		if len(key) != 9 {
			return fmt.Errorf("a gap of the log of changes is damaged")
		}
		last = max(last, binary.BigEndian.Uint64(key[1:]))
		return nil
	})
	return last, err
}

// each visits what is in a space from a key on.
func (b *Backend) each(from []byte, visit func(key, value []byte) error) error {
	iter, err := b.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{from[0] + 1}})
	if err != nil {
		return err
	}
	for ok := iter.First(); ok && err == nil; ok = iter.Next() {
		var value []byte
		if value, err = iter.ValueAndErr(); err == nil {
			err = visit(iter.Key(), value)
		}
	}
	return errors.Join(err, iter.Close())
}

// count returns how many keys there are in a space, or most.
func (b *Backend) count(space byte, most int) (n int, err error) {
	enough := errors.New("enough")
	err = b.each([]byte{space}, func(_, _ []byte) error {
		if n++; n == most {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return n, err
}

func changeKey(version uint64) []byte { return append([]byte{spaceChange}, eight(version)...) }
func partKey(after uint64) []byte     { return append([]byte{spacePart}, eight(after)...) }
func gapKey(to uint64) []byte         { return append([]byte{spaceGap}, eight(to)...) }

// facts returns what is kept of a part that is complete.
func (p *part) facts() []byte { return append(eight(uint64(p.until)), eight(uint64(p.bytes))...) }

func readPart(key, value []byte) (part, error) {
	if len(key) != 9 || len(value) != 16 {
		return part{}, fmt.Errorf("a part of the log of changes is damaged")
	}
	return part{after: binary.BigEndian.Uint64(key[1:]), until: int64(binary.BigEndian.Uint64(value)), bytes: int64(binary.BigEndian.Uint64(value[8:]))}, nil
}
