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
	part   *os.File
	out    *bufio.Writer
	sum    hash.Hash
	zip    *zstd.Encoder
	header Header
	last   []byte // key of the latest item
	piece  []byte // used again
}

// Create begins the file name. Until Commit, which replaces a file of that name, there is only
// a temporary one next to it. The caller ends it with Commit or Abort.
func Create(name string) (*Writer, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real // a link stays one
	}
	part, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.part") // with mode 0600
	if err != nil {
		return nil, err
	}
	w := &Writer{name: name, part: part, sum: sha256.New(), out: bufio.NewWriterSize(part, 256<<10)}
	stored := io.MultiWriter(w.out, w.sum, (*byteCount)(&w.header.Stored))
	if w.zip, err = zstd.NewWriter(stored, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1)); err == nil {
		_, err = part.Seek(headerBytes, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
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
// nothing is left.
func (w *Writer) Commit() error {
	if err := w.finish(); err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := errors.Join(w.part.Close(), os.Rename(w.part.Name(), w.name)); err != nil {
		return errors.Join(err, os.Remove(w.part.Name()))
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

// Abort leaves nothing of the file.
func (w *Writer) Abort() error {
	return errors.Join(w.part.Close(), os.Remove(w.part.Name()))
}

// syncDir has the names in a folder survive a crash.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
