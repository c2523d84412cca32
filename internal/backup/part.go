package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// PartSuffix is what the name of a partial file ends in.
const PartSuffix = ".part"

// ErrUnusable is behind the error of [Resume] for a partial file that is not the one of the mark.
var ErrUnusable = errors.New("cannot be continued")

// ErrInUse is behind the error for a partial file that another backup is writing.
var ErrInUse = errors.New("is in use by another backup")

// Mark describes a partial file up to a place from which [Resume] continues. All before it is on
// the disk.
type Mark struct {
	Items  uint64 `json:"-"`
	Last   []byte `json:"-"` // key of the latest item; nil if there is none
	Newest uint64 `json:"newest"`
	Bytes  uint64 `json:"bytes"`
	Stored uint64 `json:"stored"`
	Sum    []byte `json:"sha256"` // of the stored records
}

// Target returns the file that name leads to, which need not exist: a link stays one.
func Target(name string) (string, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real, nil
	}
	return name, nil
}

// Mark ends a Zstandard frame, so that the file can be continued behind it, and has all of it on
// the disk.
func (w *Writer) Mark() (Mark, error) {
	if w.framed {
		if err := w.zip.Close(); err != nil {
			return Mark{}, err
		}
		w.zip.Reset(w.stored)
		w.framed = false
	}
	if err := w.out.Flush(); err != nil {
		return Mark{}, err
	}
	if err := w.part.Sync(); err != nil {
		return Mark{}, err
	}
	m := Mark{Items: w.header.Items, Newest: w.header.Newest, Bytes: w.header.Bytes, Stored: w.header.Stored, Sum: w.sum.Sum(nil)}
	if m.Items > 0 {
		m.Last = append([]byte{}, w.last...)
	}
	return m, nil
}

// Resume continues the partial file of name behind m, and drops what is there of later records. It
// is an error, and the file stays as it is, if the file is not the one of m. All of it is read,
// which takes a while: alive is called meanwhile, and its error ends the reading.
func Resume(ctx context.Context, name string, m Mark, alive func() error) (*Writer, error) {
	part, err := openPart(name + PartSuffix)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(name, part)
	if err == nil {
		err = w.resume(ctx, m, alive)
	}
	if err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return w, nil
}

func (w *Writer) resume(ctx context.Context, m Mark, alive func() error) error {
	info, err := w.part.Stat()
	if err != nil {
		return err
	}
	switch size := info.Size(); {
	case m.Stored > 0 && size == 0:
		return w.unusable("the file is empty")
	case m.Stored > 0 && (size < headerBytes || m.Stored > uint64(size-headerBytes)):
		return w.unusable(fmt.Sprintf("the file is cut: %d bytes, and it had %d of records", size, m.Stored))
	}
	stored := io.NewSectionReader(w.part, headerBytes, int64(m.Stored))
	for {
		n, err := io.CopyN(w.sum, stored, 1<<20)
		w.header.Stored += uint64(n)
		if err == io.EOF {
			break
		}
		if err = errors.Join(err, ctx.Err()); err == nil {
			err = alive()
		}
		if err != nil {
			return err
		}
	}
	if w.header.Stored != m.Stored || !bytes.Equal(w.sum.Sum(nil), m.Sum) {
		return w.unusable("the file is damaged: its checksum does not match")
	}
	end := headerBytes + int64(m.Stored)
	if err := w.part.Truncate(end); err != nil {
		return err
	}
	w.header.Items, w.header.Newest, w.header.Bytes = m.Items, m.Newest, m.Bytes
	w.last = bytes.Clone(m.Last)
	_, err = w.part.Seek(end, io.SeekStart)
	return err
}

func (w *Writer) unusable(why string) error {
	return fmt.Errorf("%s %w: %s", w.part.Name(), ErrUnusable, why)
}

// freshPart makes a partial file, with mode 0600, in the place of an earlier one.
func freshPart(name string) (*os.File, error) {
	had, err := openPart(name)
	switch {
	case err == nil: // no other backup is writing it
		if err := drop(had); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	part, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(part); err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return part, nil
}

// openPart opens a partial file that is there, and locks it.
func openPart(name string) (*os.File, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	part, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err = lock(part); err == nil {
		err = same(part, name)
	}
	if err == nil {
		err = part.Chmod(0o600) // as the finished file, whoever made it
	}
	if err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return part, nil
}

// same returns an error if the name is another file's by now: the backup that had it locked was
// completed.
func same(part *os.File, name string) error {
	is, err := part.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(name); err != nil || !os.SameFile(is, named) {
		return inUse(name)
	}
	return nil
}

func inUse(name string) error { return fmt.Errorf("%s %w", name, ErrInUse) }
