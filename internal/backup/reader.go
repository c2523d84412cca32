package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/plinthkv/plinth/storage"
)

// File reads a file. It is not safe for concurrent use.
type File struct {
	f      *os.File
	name   string
	raw    []byte // of the header
	header Header
}

// Open opens a file and reads its header. The caller closes it.
func Open(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &File{f: f, name: name}
	if err := r.begin(); err != nil {
		return nil, errors.Join(r.failed(err), f.Close())
	}
	return r, nil
}

func (r *File) begin() error {
	info, err := r.f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a directory")
	case !info.Mode().IsRegular():
		return errors.New("not a regular file, which a restore needs to read twice")
	case info.Size() == 0:
		return errors.New("the file is empty")
	}
	r.raw = make([]byte, min(info.Size(), headerBytes))
	if _, err = io.ReadFull(r.f, r.raw); err != nil {
		return err
	}
	r.header, err = decode(r.raw, info.Size())
	return err
}

func (r *File) failed(err error) error { return fmt.Errorf("%s: %w", r.name, err) }

// Header returns the file's header, which is not proven before Check.
func (r *File) Header() Header { return r.header }

// Close closes the file.
func (r *File) Close() error { return r.f.Close() }

// Check reads the whole file: its checksum, and that its records are what the header says. It
// calls each with every item; the first error of that is one of the check too. ID names the
// content.
func (r *File) Check(ctx context.Context, each func(Entry) error) (id string, err error) {
	sum := sha256.New()
	stored := io.TeeReader(r.records(), sum)
	bad := r.walk(ctx, stored, each)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	// A checksum that is wrong explains whatever else is.
	if err := drain(ctx, stored); err != nil {
		return "", r.failed(err)
	}
	if err := r.compare(sum); err != nil {
		return "", r.failed(err)
	}
	if bad != nil {
		return "", r.failed(bad)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// compare adds the header to sum, and compares it with the one at the end of the file.
func (r *File) compare(sum hash.Hash) error {
	sum.Write(r.raw)
	want := make([]byte, sumBytes)
	if _, err := r.f.ReadAt(want, headerBytes+int64(r.header.Stored)); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return errors.New("the file is damaged: its checksum does not match")
	}
	return nil
}

func drain(ctx context.Context, r io.Reader) error {
	for {
		_, err := io.CopyN(io.Discard, r, 1<<20)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Items returns the items in ascending order of their keys. An error is the last thing that is
// yielded. Items belong to the caller.
func (r *File) Items(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := r.walk(ctx, r.records(), func(e Entry) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(Entry{}, r.failed(err))
		}
	}
}

// errStop ends a walk.
var errStop = errors.New("enough")

// Entry holds an item that was read.
type Entry struct {
	storage.Item
	Bytes int64 // of records, up to the end of the item
}

// records returns the records as they are stored.
func (r *File) records() io.Reader {
	return io.NewSectionReader(r.f, headerBytes, int64(r.header.Stored))
}

// walk calls each with all items, up to its first error.
func (r *File) walk(ctx context.Context, stored io.Reader, each func(Entry) error) error {
	zip, err := zstd.NewReader(stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return err
	}
	defer zip.Close()
	in := &recordReader{r: bufio.NewReaderSize(zip, 64<<10), left: r.header.Bytes}
	var last []byte
	for n := range r.header.Items {
		if err := ctx.Err(); err != nil {
			return err
		}
		it, err := in.next()
		if err != nil {
			return fmt.Errorf("item %d of %d: %w", n+1, r.header.Items, err)
		}
		if n > 0 && bytes.Compare(it.Key, last) <= 0 {
			return fmt.Errorf("item %d of %d: the keys do not ascend", n+1, r.header.Items)
		}
		last = append(last[:0], it.Key...)
		if err := each(Entry{it, int64(r.header.Bytes - in.left)}); err != nil {
			return err
		}
	}
	if _, err := in.r.ReadByte(); err == nil || in.left > 0 {
		return errors.New("the records are not as long as the header says")
	} else if err != io.EOF {
		return err
	}
	return nil
}

// recordReader reads records of at most left bytes in all.
type recordReader struct {
	r    *bufio.Reader
	left uint64
}

var errCut = errors.New("the records end early")

// ReadByte reads a byte of the records.
func (r *recordReader) ReadByte() (byte, error) {
	if r.left == 0 {
		return 0, errCut
	}
	b, err := r.r.ReadByte()
	if err == nil {
		r.left--
	}
	return b, err
}

func (r *recordReader) next() (it storage.Item, err error) {
	var fields [3]uint64 // lengths of key and value, expiry
	for i := range fields {
		if fields[i], err = binary.ReadUvarint(r); err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errCut
		}
		if err != nil {
			return it, err
		}
	}
	if fields[0] > MaxKey || fields[1] > MaxValue {
		return it, fmt.Errorf("a key of %d bytes and a value of %d: more than an item may have", fields[0], fields[1])
	}
	if fields[2] > uint64(lastExpiry) {
		return it, errors.New("an expiry that is out of range")
	}
	if fields[2] > 0 {
		it.ExpiresAt = time.UnixMilli(int64(fields[2])).UTC()
	}
	if it.Key, err = r.bytes(fields[0]); err == nil {
		it.Value, err = r.bytes(fields[1])
	}
	return it, err
}

// lastExpiry is the last millisecond that an expiry may be.
const lastExpiry = 253402300799999

// bytes reads n bytes. Memory is taken as they come, not as they are announced.
func (r *recordReader) bytes(n uint64) ([]byte, error) {
	if n > r.left {
		return nil, errCut
	}
	b := []byte{}
	for uint64(len(b)) < n {
		step := min(n-uint64(len(b)), uint64(max(len(b), 64<<10)))
		at := len(b)
		b = slices.Grow(b, int(step))[:at+int(step)]
		if _, err := io.ReadFull(r.r, b[at:]); err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = errCut
			}
			return nil, err
		}
		r.left -= step
	}
	return b, nil
}
