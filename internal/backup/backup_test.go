package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

func items(n int) []storage.Item {
	all := []storage.Item{{Key: []byte{}, Value: []byte{}}}
	for i := range n {
		it := storage.Item{Key: fmt.Appendf(nil, "k%06d\xff", i), Value: bytes.Repeat([]byte{byte(i), 0}, i%50), Version: uint64(1000 - i%7)}
		if i%3 == 0 {
			it.ExpiresAt = time.UnixMilli(int64(1 + i*1000)).UTC()
		}
		all = append(all, it)
	}
	return all
}

func write(t testing.TB, all []storage.Item) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range all {
		if err := w.Add(it); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return name
}

// A file that is replaced keeps its mode.
func TestModeIsKept(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	for _, mode := range []os.FileMode{0o600, 0o604, 0o640} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		w, err := backup.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("mode %v, want %v (%v)", info.Mode(), mode, err)
		}
	}
}

// check opens a file and checks all of it.
func check(name string) (id string, err error) {
	f, err := backup.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.Check(context.Background(), func(backup.Entry) error { return nil })
}

func TestItemsComeBack(t *testing.T) {
	for _, n := range []int{0, 1, 10_000} {
		all := items(n)
		name := write(t, all)
		if _, err := check(name); err != nil {
			t.Fatal(err)
		}
		f, err := backup.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		i, last := 0, int64(0)
		for e, err := range f.Items(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if want := all[i]; !bytes.Equal(e.Key, want.Key) || !bytes.Equal(e.Value, want.Value) || e.Value == nil || !e.ExpiresAt.Equal(want.ExpiresAt) {
				t.Fatalf("%+v, want %+v", e, want)
			}
			i, last = i+1, e.Bytes
		}
		h := f.Header()
		if i != len(all) || h.Items != uint64(i) || h.Bytes != uint64(last) || n > 7 && h.Newest != 1000 || time.Since(h.Created) > time.Minute {
			t.Errorf("%d items of %d, header %+v", i, len(all), h)
		}
		if info, _ := os.Stat(name); info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
}

func TestNothingHalfWritten(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := backup.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(storage.Item{Key: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"b", "a"} {
		if err := w.Add(storage.Item{Key: []byte(key)}); err == nil {
			t.Errorf("%s after b is accepted", key)
		}
	}
	if err := w.Add(storage.Item{Key: make([]byte, backup.MaxKey+1)}); err == nil {
		t.Error("a key of any length is accepted")
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(name); string(got) != "before" {
		t.Errorf("%q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
	if _, err := backup.Target(dir); err == nil {
		t.Error("a folder is accepted")
	}
}

// One bit anywhere is found: in the header, in the records, in the checksum.
func TestEachByteIsChecked(t *testing.T) {
	name := write(t, items(20))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := check(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("byte %d of %d: %v", i, len(whole), err)
		}
	}
	for n := range whole {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := check(name); err == nil {
			t.Errorf("cut to %d of %d bytes", n, len(whole))
		}
	}
}

// crafted is a file whose checksums are right, and whatever else is not.
type crafted struct {
	magic                string
	format, compression  uint32
	items, bytes, stored uint64 // stored is added to what is true
	records              []byte
	plain                bool // records are not compressed
}

func (c crafted) file(t testing.TB) string {
	t.Helper()
	body := c.records
	if !c.plain {
		zip, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		body = zip.EncodeAll(c.records, nil)
	}
	h := make([]byte, 64)
	copy(h, c.magic)
	binary.BigEndian.PutUint32(h[8:], c.format)
	binary.BigEndian.PutUint32(h[12:], c.compression)
	binary.BigEndian.PutUint64(h[16:], c.items)
	binary.BigEndian.PutUint64(h[40:], c.bytes)
	binary.BigEndian.PutUint64(h[48:], uint64(len(body))+c.stored)
	binary.BigEndian.PutUint32(h[60:], crc32.Checksum(h[:60], crc32.MakeTable(crc32.Castagnoli)))
	sum := sha256.Sum256(append(bytes.Clone(body), h...))
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, append(append(h, body...), sum[:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const most = 1<<64 - 1

func record(key, value string, expiry uint64) []byte {
	b := binary.AppendUvarint(nil, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	b = binary.AppendUvarint(b, expiry)
	return append(append(b, key...), value...)
}

// A file may claim anything, with checksums that are right: it is an error in bounded time and
// memory.
func TestFilesThatLie(t *testing.T) {
	a, ab := record("a", "1", 0), append(record("a", "1", 0), record("b", "2", 0)...)
	lens := func(key, value, expiry uint64) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, key), value), expiry)
	}
	for name, c := range map[string]struct {
		crafted
		says string
	}{
		"no backup":            {crafted{magic: "PLINTHBJ", format: 1, compression: 1}, "not a backup file"},
		"a newer format":       {crafted{magic: "PLINTHBK", format: 2, compression: 1}, "format 2 is not supported"},
		"another compression":  {crafted{magic: "PLINTHBK", format: 1, compression: 2}, "compression 2 is not supported"},
		"fewer items":          {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: uint64(len(ab)), records: ab}, "not as long"},
		"more items":           {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: most, bytes: uint64(len(a)), records: a}, "item 2 of"},
		"more bytes":           {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: a}, "not as long"},
		"fewer bytes":          {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: 3, records: a}, "end early"},
		"more stored":          {crafted{magic: "PLINTHBK", format: 1, compression: 1, stored: 1, items: 1, bytes: uint64(len(a)), records: a}, "is cut"},
		"stored overflows":     {crafted{magic: "PLINTHBK", format: 1, compression: 1, stored: most - 40, items: 1, bytes: uint64(len(a)), records: a}, "is cut"},
		"something follows":    {crafted{magic: "PLINTHBK", format: 1, compression: 1, stored: most, items: 1, bytes: uint64(len(a)), records: a}, "follow the end"},
		"no zstd":              {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: uint64(len(a)), records: a, plain: true}, "item 1 of 1"},
		"no order":             {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 2, bytes: uint64(2 * len(a)), records: append(a, a...)}, "do not ascend"},
		"a long key":           {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: lens(1<<40, 0, 0)}, "more than an item"},
		"a long value":         {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: lens(1, 1<<40, 0)}, "more than an item"},
		"a value that is none": {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: lens(0, backup.MaxValue, 0)}, "end early"},
		"no expiry":            {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: lens(0, 0, most)}, "out of range"},
		"no number":            {crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: most, records: bytes.Repeat([]byte{0xff}, 20)}, "overflows"},
	} {
		t.Run(name, func(t *testing.T) {
			file := c.file(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := check(file)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
				t.Errorf("%v; want %q", err, c.says)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 24<<20 {
				t.Errorf("it took %d bytes", took)
			}
		})
	}
}

// A window that is larger than what is written takes no memory.
func TestLargeWindow(t *testing.T) {
	var b bytes.Buffer
	zip, err := zstd.NewWriter(&b, zstd.WithWindowSize(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zip.Write(record("a", strings.Repeat("x", 16<<20), 0)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	c := crafted{magic: "PLINTHBK", format: 1, compression: 1, items: 1, bytes: 16<<20 + 7, records: b.Bytes(), plain: true}
	if _, err := check(c.file(t)); err == nil || !strings.Contains(err.Error(), "window size exceeded") {
		t.Error(err)
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{empty: "is empty", dir: "is a directory", filepath.Join(dir, "none"): "no such file", os.DevNull: "not a regular file"} {
		if _, err := check(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckEnds(t *testing.T) {
	f, err := backup.Open(write(t, items(100)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, end := context.WithCancel(t.Context())
	n := 0
	_, err = f.Check(ctx, func(backup.Entry) error {
		if n++; n == 5 {
			end()
		}
		return nil
	})
	if err != context.Canceled || n != 5 {
		t.Errorf("%v after %d items", err, n)
	}
	_, err = f.Check(t.Context(), func(backup.Entry) error { return storage.ErrSizeLimit })
	if !errors.Is(err, storage.ErrSizeLimit) {
		t.Error(err)
	}
}

// Whatever is in a file, it is an error or the items that its header counts.
func FuzzCheck(f *testing.F) {
	for _, n := range []int{0, 3} {
		whole, err := os.ReadFile(write(f, items(n)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole[64:len(whole)-32], uint64(n+1), uint64(1000))
	}
	f.Add([]byte("no zstd"), uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, stored []byte, items, size uint64) {
		name := crafted{magic: "PLINTHBK", format: 1, compression: 1, items: items, bytes: size, records: stored, plain: true}.file(t)
		file, err := backup.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Check(t.Context(), func(backup.Entry) error { return nil }); err != nil {
			return
		}
		n := uint64(0)
		for _, err := range file.Items(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != items {
			t.Errorf("%d items, the header says %d", n, items)
		}
	})
}
