package wasmhost

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kept holds the compiled code of one module on the disk: a folder that wazero reads and
// writes, and next to it a list of its files with their checksums. wazero runs what it
// finds, and a damaged file may crash it, so files that are not in the list are removed.
type kept struct{ dir string }

// listName is the list's name beyond the folder's.
const listName = ".sum"

// keptIn returns where the compiled code of binary is kept below dir.
func keptIn(dir string, binary []byte, trusted bool) kept {
	h := sha256.New()
	fmt.Fprintf(h, "plinth 1 %t\n", trusted)
	h.Write(binary)
	return kept{filepath.Join(dir, hex.EncodeToString(h.Sum(nil)[:16]))}
}

// verify removes files that have changed. whole reports whether all written files exist,
// damaged whether one of them has changed.
func (k kept) verify() (whole, damaged bool, err error) {
	sums, err := k.sums()
	if err != nil {
		return false, false, err
	}
	seen := 0
	err = k.files(func(name, path string) error {
		sum, err := checksum(path)
		if err == nil && sums[name] == sum {
			seen++
			return nil
		}
		damaged = damaged || sums[name] != ""
		return os.Remove(path)
	})
	if err == nil && seen > 0 {
		now := time.Now()
		_ = os.Chtimes(k.dir+listName, now, now) // when it was used last: see forget
	}
	return seen > 0 && seen == len(sums), damaged, err
}

// list writes the list of the present files.
func (k kept) list() error {
	var lines []string
	if err := k.files(func(name, path string) error {
		sum, err := checksum(path)
		lines = append(lines, sum+" "+name+"\n")
		return err
	}); err != nil {
		return err
	}
	slices.Sort(lines)
	content := strings.Join(lines, "")
	if have, err := os.ReadFile(k.dir + listName); err == nil && string(have) == content {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(k.dir), filepath.Base(k.dir)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), k.dir+listName)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// sums returns the checksums of the list, by name.
func (k kept) sums() (map[string]string, error) {
	f, err := os.Open(k.dir + listName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), " ")
		sums[name] = sum
	}
	return sums, lines.Err()
}

// files calls each for all files of the folder, which need not be there.
func (k kept) files(each func(name, path string) error) error {
	return filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another process is at it too
			return nil
		case err != nil || d.IsDir():
			return err
		case strings.HasSuffix(path, ".tmp"): // is being written, and never read
			return nil
		case !d.Type().IsRegular(): // reading it may not end
			return os.Remove(path)
		}
		name, err := filepath.Rel(k.dir, path)
		if err != nil {
			return err
		}
		if err = each(name, path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the size and the CRC of a file. A user with write access could forge it,
// which is why no other user may have it: see [CheckCacheDir].
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, f)
	return fmt.Sprintf("%d-%08x", n, h.Sum32()), err
}

// unused limits how long unused compiled code is kept.
const unused = 30 * 24 * time.Hour

// ours matches the names that this file gives: the directory may hold more.
var ours = regexp.MustCompile(`^[0-9a-f]{32}(\.sum)?(\.[0-9]+\.tmp)?$`)

// forget removes code that has not been used for long.
func forget(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		info, err := e.Info()
		if err != nil || !ours.MatchString(name) || now.Sub(info.ModTime()) <= unused {
			continue
		}
		// A list goes first: then nothing of its folder is believed. What cannot be removed
		// stays: it is a cache.
		folder, isList := strings.CutSuffix(name, listName)
		if _, err := os.Stat(filepath.Join(dir, name+listName)); isList || errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(filepath.Join(dir, name))
			_ = os.RemoveAll(filepath.Join(dir, folder))
		}
	}
}
