package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/plinthkv/plinth/storage"
)

// What an item may have. More than any carrier transports.
const (
	MaxKey   = 1 << 20
	MaxValue = 128 << 20
)

// window is how many decompressed bytes a reader keeps.
const window = 4 << 20

// Writer writes a file. It is not safe for concurrent use.
type Writer struct {
	name   string
	part   *os.File // locked
	out    *bufio.Writer
	sum    hash.Hash
	stored io.Writer // out and sum, counted
	zip    *zstd.Encoder
	framed bool // a Zstandard frame has begun
	header Header
	last   []byte // key of the latest item
	piece  []byte // used again
}

// Create begins the file name, which [Target] has returned. Until Commit, which replaces a file
// of that name, there is only the partial file, name with [PartSuffix], which replaces an earlier
// one. The caller ends it with Commit, Close or Abort.
func Create(name string) (*Writer, error) {
	part, err := freshPart(name + PartSuffix)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(name, part)
	if err == nil {
		_, err = part.Seek(headerBytes, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, drop(part))
	}
	return w, nil
}

func newWriter(name string, part *os.File) (w *Writer, err error) {
	w = &Writer{name: name, part: part, sum: sha256.New(), out: bufio.NewWriterSize(part, 256<<10)}
	w.stored = io.MultiWriter(w.out, w.sum, (*byteCount)(&w.header.Stored))
	w.zip, err = zstd.NewWriter(w.stored, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	return w, err
}

// byteCount counts written bytes.
type byteCount uint64

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

// Add writes an item. Keys must ascend.
func (w *Writer) Add(it storage.Item) error {
	switch {
	case w.header.Items > 0 && bytes.Compare(it.Key, w.last) <= 0:
		return errors.New("the keys do not ascend")
	case len(it.Key) > MaxKey || len(it.Value) > MaxValue:
		return fmt.Errorf("an item has a key of %d bytes and a value of %d; a backup holds keys of up to %d and values of up to %d",
			len(it.Key), len(it.Value), MaxKey, MaxValue)
	}
	b := binary.AppendUvarint(w.piece[:0], uint64(len(it.Key)))
	b = binary.AppendUvarint(b, uint64(len(it.Value)))
	var expiry uint64
	if !it.ExpiresAt.IsZero() {
		expiry = uint64(max(it.ExpiresAt.UnixMilli(), 1))
	}
	w.piece = append(binary.AppendUvarint(b, expiry), it.Key...)
	w.framed = true
	for _, p := range [][]byte{w.piece, it.Value} {
		if _, err := w.zip.Write(p); err != nil {
			return err
		}
	}
	w.header.Items++
	w.header.Newest = max(w.header.Newest, it.Version)
	w.header.Bytes += uint64(len(w.piece) + len(it.Value))
	w.last = append(w.last[:0], it.Key...)
	return nil
}

// Header returns the header of the items written so far.
func (w *Writer) Header() Header { return w.header }

// Commit completes the file, and gives it its name once all of it is on the disk. If it fails,
// the partial file stays.
func (w *Writer) Commit() error {
	if err := w.finish(); err != nil {
		return errors.Join(err, w.part.Close())
	}
	if info, err := os.Stat(w.name); err == nil { // what is replaced keeps its mode
		if err := w.part.Chmod(info.Mode().Perm()); err != nil {
			return errors.Join(err, w.part.Close())
		}
	}
	if err := place(w.part, w.name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(w.name))
}

func (w *Writer) finish() error {
	if err := w.zip.Close(); err != nil {
		return err
	}
	w.header.Created = time.Now()
	head := w.header.encode()
	w.sum.Write(head)
	if _, err := w.out.Write(w.sum.Sum(nil)); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	if _, err := w.part.WriteAt(head, 0); err != nil {
		return err
	}
	return w.part.Sync()
}

// Close leaves the partial file as it is. What was added after the latest Mark is lost.
func (w *Writer) Close() error { return w.part.Close() }

// Abort leaves nothing of the file.
func (w *Writer) Abort() error { return drop(w.part) }

// syncDir has the names in a folder survive a crash.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
