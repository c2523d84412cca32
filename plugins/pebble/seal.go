package pebble

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sealName is the file that describes the others while nothing has the store open. Tables are
// not in it: the engine has checksums of their blocks and knows their sizes.
const sealName = "plinth.seal"

const (
	sealFirst = "plinth seal 1\n"
	sealLimit = 1 << 20
)

// sealed reports whether the seal describes a file.
func sealed(name string) bool {
	return !strings.HasPrefix(name, sealName) && name != "LOCK" && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".sst")
}

// writeSeal describes the files of a store that has just been closed.
func writeSeal(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString(sealFirst)
	for _, name := range names {
		if !sealed(name) {
			continue
		}
		line, err := describe(files, dir, name)
		if err != nil {
			return err
		}
		text.WriteString(line + "\n")
	}
	fmt.Fprintf(&text, "%08x\n", crc32.Checksum([]byte(text.String()), castagnoli))
	path := files.PathJoin(dir, sealName)
	part := path + ".part"
	f, err := files.Create(part, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = files.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, files.Remove(part))
	}
	return syncFolder(files, dir)
}

// describe returns the line of a file.
func describe(files vfs.FS, dir, name string) (string, error) {
	f, err := files.Open(files.PathJoin(dir, name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	size, err := io.Copy(sum, f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Sprintf("%08x %d %s", sum.Sum32(), size, name), nil
}

// breakSeal compares the files with the seal, if there is one, and removes it, because they
// change from now on. It reports whether there was one. The folder must be locked.
func breakSeal(files vfs.FS, dir string) (whole bool, _ error) {
	path := files.PathJoin(dir, sealName)
	f, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, sealLimit))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	lines, err := sealedLines(string(raw))
	if err != nil {
		return false, err
	}
	for _, want := range lines {
		_, sizeAndName, _ := strings.Cut(want, " ")
		_, name, _ := strings.Cut(sizeAndName, " ")
		switch have, err := describe(files, dir, name); {
		case errors.Is(err, fs.ErrNotExist):
			return false, fmt.Errorf("%s is missing: it was there when the store was closed; if that is on purpose, remove %s", name, sealName)
		case err != nil:
			return false, err
		case have != want:
			return false, fmt.Errorf("%s is damaged: it is not as it was when the store was closed; if that is on purpose, remove %s", name, sealName)
		}
	}
	if err := files.Remove(path); err != nil {
		return false, err
	}
	return true, syncFolder(files, dir)
}

// sealedLines returns the lines of a seal, one for each file.
func sealedLines(text string) ([]string, error) {
	body, sum, ok := cutLast(strings.TrimSuffix(text, "\n"), "\n")
	listed, first := strings.CutPrefix(body+"\n", sealFirst)
	if !ok || !first || sum != fmt.Sprintf("%08x", crc32.Checksum([]byte(body+"\n"), castagnoli)) {
		return nil, fmt.Errorf("%s is damaged: if the other files are as they were, remove it", sealName)
	}
	return strings.Split(strings.TrimSuffix(listed, "\n"), "\n"), nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

func syncFolder(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
