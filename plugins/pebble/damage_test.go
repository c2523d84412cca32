package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/storage"
)

// TestDamage damages each file of a store, closed or as a kill leaves it. No read returns a
// wrong value or finds nothing, except behind damage in the newest log of a store that was killed.
func TestDamage(t *testing.T) {
	closed, killed := damageable(t)
	for _, c := range []struct {
		name, whole string
	}{{"closed", closed}, {"killed", killed}} {
		opened, refused := 0, 0
		files, err := os.ReadDir(c.whole)
		if err != nil {
			t.Fatal(err)
		}
		newest := ""
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".log") {
				newest = f.Name()
			}
		}
		for _, f := range files {
			content, err := os.ReadFile(filepath.Join(c.whole, f.Name()))
			if err != nil || f.Name() == "LOCK" {
				continue
			}
			for name, bad := range damages(content) {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(c.whole)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, f.Name())
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if name == "removed" {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
				what := fmt.Sprintf("%s: %s: %s", c.name, f.Name(), name)
				opens, lost := readDamaged(t, what, f.Name(), dir)
				if opens {
					opened++
				} else {
					refused++
				}
				if lost > 0 && (f.Name() != newest || c.name == "closed" || lost > 50) {
					t.Errorf("%s: %d items are gone without a word", what, lost)
				}
				if opens && c.name == "closed" && sealed(f.Name()) {
					t.Errorf("%s: it opens", what)
				}
			}
		}
		t.Logf("%s: %d opened, %d did not", c.name, opened, refused)
		if refused == 0 {
			t.Error("no damage was noticed")
		}
	}
}

// damageable returns folders of a store of 150 items: one closed, and one as a kill leaves it.
// The first 100 are in a table that the engine made of a log when it opened, and the others in
// a log.
func damageable(t *testing.T) (closed, killed string) {
	closed, killed = t.TempDir(), t.TempDir()
	for _, phase := range []struct{ from, to int }{{0, 100}, {100, 150}} {
		b, err := Open(t.Context(), env(closed, ""))
		if err != nil {
			t.Fatal(err)
		}
		for i := phase.from; i < phase.to; i++ {
			if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(numbered(i), weighty(i))}}); err != nil {
				t.Fatal(err)
			}
		}
		if phase.to == 150 {
			if err := os.CopyFS(killed, os.DirFS(closed)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return closed, killed
}

// damages returns a content with a bit changed in each of several places, cut at others, and
// without anything.
func damages(content []byte) map[string][]byte {
	all := map[string][]byte{"removed": nil}
	if len(content) == 0 {
		return all
	}
	for part := range 16 {
		at := part * (len(content) - 1) / 15
		bad := bytes.Clone(content)
		bad[at] ^= 0x40
		all[fmt.Sprintf("a bit of byte %d", at)] = bad
	}
	for part := range 4 {
		at := part * len(content) / 4
		all[fmt.Sprintf("cut to %d bytes", at)] = content[:at]
	}
	return all
}

// readDamaged reads a damaged store. It returns whether it opens, and how many of its last items
// are not found.
func readDamaged(t *testing.T, what, file, dir string) (opens bool, lost int) {
	b, err := Open(t.Context(), env(dir, ""))
	if err != nil {
		if !strings.Contains(err.Error(), dir) || strings.Contains(what, "closed") && !strings.Contains(err.Error(), strings.TrimSuffix(file, ".sst")) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error does not say where: %v", what, err)
		}
		return false, 0
	}
	defer b.Close(context.Background())
	for i := range 150 {
		it, err := b.Get(t.Context(), numbered(i))
		switch {
		case errors.Is(err, storage.ErrNotFound):
			lost++
		case err != nil:
			if !errors.Is(err, storage.ErrInternal) {
				t.Errorf("%s: %v", what, err)
			}
		case string(it.Value) != string(weighty(i)):
			t.Errorf("%s: a wrong value of %d", what, i)
		case lost > 0:
			t.Errorf("%s: %d is there, and %d before it are gone", what, i, lost)
		}
	}
	return true, lost
}

// Whatever a manifest, a log or a seal holds: it is read to its end or refused.
func FuzzTrail(f *testing.F) {
	f.Add([]byte(nil), uint32(0))
	f.Add(bytes.Repeat([]byte{0}, 40<<10), uint32(2))
	full := append([]byte{0, 0, 0, 0, 3, 0, 1}, tagLog, 9, 0)
	sum := crc32.Checksum(full[6:], castagnoli)
	binary.LittleEndian.PutUint32(full, sum>>15|sum<<17+0xa282ead8)
	f.Add(full, uint32(0))
	f.Add([]byte(sealFirst+"00000000 1 ../x\n00000000\n"), uint32(7))
	f.Fuzz(func(t *testing.T, content []byte, number uint32) {
		fs := vfs.NewMem()
		file, err := fs.Create("f", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err := readManifest(fs, "f"); err == nil && s.next < firstSequence {
			t.Errorf("%+v", s)
		}
		_ = readLog(fs, "f", number, func(_, _ uint64) error { return nil })
		_, _ = sealedLines(string(content))
	})
}
