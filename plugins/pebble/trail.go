package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The engine takes the first invalid byte of its manifest or of its newest log for the end, as
// a crash leaves it, and then deletes what it no longer finds named. So before it opens, its
// files are followed here: the edits of the manifest, and the writes in the logs, whose numbers
// continue those of the manifest.

// inspect returns an error that names the file if an engine's files in dir are damaged in a
// way that the engine would take for a crash. The folder must be locked.
func inspect(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	var logs []uint64
	tables := false
	for _, name := range names {
		base, isLog := strings.CutSuffix(name, ".log")
		if number, err := strconv.ParseUint(base, 10, 64); isLog && err == nil {
			logs = append(logs, number)
		}
		tables = tables || strings.HasSuffix(name, ".sst")
	}
	slices.Sort(logs)
	was, err := pebble.Peek(dir, fs)
	switch {
	case err != nil:
		return err
	case !was.Exists && (tables || len(logs) > 0):
		return errors.New("the file marker.manifest.*, which names the manifest, is missing")
	case !was.Exists:
		return nil // it is new
	}
	manifest := fs.PathBase(was.ManifestFilename)
	state, err := readManifest(fs, fs.PathJoin(dir, manifest))
	if err != nil {
		return fmt.Errorf("%s: %w", manifest, err)
	}
	if state.log > 0 && len(logs) == 0 {
		return errors.New("all of its logs (*.log) are missing")
	}
	for _, number := range logs {
		if number < state.log {
			continue
		}
		name := fmt.Sprintf("%06d.log", number)
		first := true
		err := readLog(fs, fs.PathJoin(dir, name), uint32(number), func(sequence, count uint64) error {
			if sequence > state.next {
				gap := fmt.Sprintf("the writes from %d to %d are missing before those of %s", state.next, sequence-1, name)
				if first {
					return fmt.Errorf("%s, and neither %s nor an earlier log has them: one of these is damaged or missing", gap, manifest)
				}
				return errors.New(gap)
			}
			first = false
			state.next = max(state.next, sequence+count)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// manifestState holds what a manifest says of the logs.
type manifestState struct {
	log  uint64 // earlier logs are in tables
	next uint64 // the number of the next write
}

// firstSequence is the number of the first write of a store.
const firstSequence = 10

func readManifest(fs vfs.FS, path string) (manifestState, error) {
	s, edits := manifestState{next: firstSequence}, 0
	err := readRecords(fs, path, 0, func(head []byte) error {
		edits++
		log, last := decodeEdit(head)
		if log > 0 {
			s.log = log
		}
		s.next = max(s.next, last+1)
		return nil
	})
	if err == nil && edits == 0 {
		err = errors.New("it holds nothing that is valid")
	}
	return s, err
}

// The tags of an edit that can come before its last sequence number.
const (
	tagComparer       = 1
	tagLog            = 2
	tagNextFile       = 3
	tagLastSequence   = 4
	tagPreviousLog    = 9
	tagCreatedBacking = 105
	tagRemovedBacking = 106
)

// decodeEdit returns the log and the last sequence number of an edit, of which raw is the
// beginning; 0 where it has none. They precede the tables.
func decodeEdit(raw []byte) (log, last uint64) {
	r := bytes.NewReader(raw)
	next := func() uint64 {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return 0
		}
		return n
	}
	for {
		switch next() {
		case tagComparer:
			_, _ = r.Seek(int64(min(next(), uint64(len(raw)))), io.SeekCurrent) // within memory
		case tagLog:
			log = next()
		case tagLastSequence:
			last = next()
		case tagNextFile, tagPreviousLog, tagRemovedBacking:
			next()
		case tagCreatedBacking:
			next()
			next()
		default:
			return log, last
		}
	}
}

// readLog calls each with the first sequence number and the count of each write of a log.
func readLog(fs vfs.FS, path string, number uint32, each func(sequence, count uint64) error) error {
	return readRecords(fs, path, number, func(head []byte) error {
		if len(head) < 12 {
			return nil // no batch
		}
		return each(binary.LittleEndian.Uint64(head), uint64(binary.LittleEndian.Uint32(head[8:])))
	})
}

// A log and a manifest consist of blocks, and these of chunks: a checksum, a length and a kind,
// in a log also the number of the log and the offset up to which it was synced before.
const (
	blockBytes  = 32 << 10
	headOfAll   = 7
	headOfLog   = headOfAll + 4
	headOfSyncs = headOfLog + 8
)

// chunk is a part of a record.
type chunk struct {
	first, last bool
	synced      uint64
	payload     []byte
	end         int // in its block
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseChunk returns the chunk that begins at an offset of a block, and where it would end even
// if it is not valid; 0 if that cannot be said. A log that was used before has chunks of other
// numbers, which are not valid.
func parseChunk(block []byte, at int, number uint32) (c chunk, valid bool) {
	if at+headOfAll > len(block) {
		return c, false
	}
	sum, length, kind := binary.LittleEndian.Uint32(block[at:]), int(binary.LittleEndian.Uint16(block[at+4:])), int(block[at+6])
	if kind < 1 || kind > 12 {
		return c, false
	}
	head := []int{headOfAll, headOfLog, headOfSyncs}[(kind-1)/4]
	end := at + head + length
	if end > len(block) || head > headOfAll && binary.LittleEndian.Uint32(block[at+headOfAll:]) != number {
		return c, false
	}
	c.end = end
	if head == headOfSyncs {
		c.synced = binary.LittleEndian.Uint64(block[at+headOfLog:])
	}
	position := (kind - 1) % 4 // full, first, middle, last
	c.first, c.last, c.payload = position < 2, position == 0 || position == 3, block[at+head:c.end]
	crc := crc32.Checksum(block[at+6:c.end], castagnoli)
	return c, sum == crc>>15|crc<<17+0xa282ead8
}

// readRecords calls each with the beginning of each record up to the first that is invalid.
// It is an error if what follows shows that this one was valid once: a chunk of a log that was
// written after a sync of it, or a record of a manifest (number 0), each of which is synced.
// Only the places where the engine puts chunks are looked at: values can hold anything.
func readRecords(fs vfs.FS, path string, number uint32, each func(head []byte) error) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var head []byte
	within, invalid := false, int64(-1) // a record; the offset of the first invalid chunk
	block := make([]byte, blockBytes)
	for begin := int64(0); ; begin += blockBytes {
		n, err := io.ReadFull(f, block)
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		for at := 0; at < n; {
			c, valid := parseChunk(block[:n], at, number)
			switch {
			case valid && invalid >= 0 && (number == 0 && c.first || c.synced > uint64(invalid)):
				return fmt.Errorf("damaged at byte %d: what follows was written after it", invalid)
			case valid && invalid < 0:
				if c.first {
					head, within = head[:0], true
				}
				head = append(head, c.payload[:min(len(c.payload), headKept-len(head))]...)
				if c.last && within {
					if err := each(head); err != nil {
						return err
					}
					within = false
				}
			case !valid && invalid < 0 && (blockBytes-at >= headOfSyncs || len(bytes.Trim(block[at:n], "\x00")) > 0): // else the rest is too short for a chunk
				invalid = begin + int64(at)
			}
			if c.end <= at { // where the next one would be is not known
				break
			}
			at = c.end
		}
	}
}

// headKept is how much of a record is looked at, in bytes.
const headKept = 4 << 10
