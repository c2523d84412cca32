package backup_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

func alive() error { return nil }

// add writes items.
func add(t *testing.T, w *backup.Writer, all []storage.Item) {
	t.Helper()
	for _, it := range all {
		if err := w.Add(it); err != nil {
			t.Fatal(err)
		}
	}
}

func mark(t *testing.T, w *backup.Writer) backup.Mark {
	t.Helper()
	m, err := w.Mark()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantItems checks a file, and that it holds all of these and nothing else.
func wantItems(t *testing.T, name string, all []storage.Item) {
	t.Helper()
	if _, err := check(name); err != nil {
		t.Fatal(err)
	}
	f, err := backup.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := 0
	for e, err := range f.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if want := all[i]; !bytes.Equal(e.Key, want.Key) || !bytes.Equal(e.Value, want.Value) || !e.ExpiresAt.Equal(want.ExpiresAt) {
			t.Fatalf("%+v, want %+v", e, want)
		}
		i++
	}
	newest := uint64(0)
	for _, it := range all {
		newest = max(newest, it.Version)
	}
	if h := f.Header(); i != len(all) || h.Newest != newest {
		t.Errorf("%d items of %d, newest %d of %d", i, len(all), h.Newest, newest)
	}
}

// A file that was given up anywhere is continued from its latest mark, however often, and holds
// what one that was written in one go does.
func TestResumed(t *testing.T) {
	all := items(3000)
	for name, marks := range map[string][]int{
		"at once": {0}, "before the first": {0, 0}, "after the empty key": {1}, "in the middle": {1500}, "after the last": {len(all)},
		"often": {0, 1, 2, 2, 700, 1400, 2999, len(all)},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			w, err := backup.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			at := 0
			for _, to := range marks {
				add(t, w, all[at:to])
				m := mark(t, w)
				add(t, w, all[to:min(to+900, len(all))]) // lost: not marked
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(file); err == nil {
					t.Fatal("there is a file that is not complete")
				}
				part, err := os.OpenFile(file+backup.PartSuffix, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := part.WriteString(strings.Repeat("half a record", 50_000)); err != nil {
					t.Fatal(err)
				}
				part.Close()
				if w, err = backup.Resume(t.Context(), file, m, alive); err != nil {
					t.Fatal(err)
				}
				at = to
			}
			add(t, w, all[at:])
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			wantItems(t, file, all)
			if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// A mark of nothing is one, too: the process may be killed before the first item is on the disk.
func TestResumedFromNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	m := mark(t, w)
	w.Close()
	if w, err = backup.Resume(t.Context(), file, m, alive); err != nil {
		t.Fatal(err)
	}
	add(t, w, items(3))
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantItems(t, file, items(3))
}

// The order of keys holds across runs.
func TestResumedInOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	add(t, w, []storage.Item{{Key: []byte("b")}})
	m := mark(t, w)
	w.Close()
	if w, err = backup.Resume(t.Context(), file, m, alive); err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, key := range []string{"a", "b"} {
		if err := w.Add(storage.Item{Key: []byte(key)}); err == nil {
			t.Errorf("%s after b is accepted", key)
		}
	}
}

// A partial file that is not the one of the mark is refused, by its name, and stays as it is.
func TestWrongParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	add(t, w, items(20))
	m := mark(t, w)
	w.Close()
	part := file + backup.PartSuffix
	whole, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, n int, content []byte) {
		t.Helper()
		if err := os.WriteFile(part, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := backup.Resume(t.Context(), file, m, alive)
		if !errors.Is(err, backup.ErrUnusable) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s %d of %d: %v", what, n, len(whole), err)
		}
		if now, _ := os.ReadFile(part); !bytes.Equal(now, content) {
			t.Errorf("%s %d: the file was changed", what, n)
		}
	}
	for i := 64; i < len(whole); i++ { // those of the header are not written yet
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		refused("byte", i, damaged)
	}
	for n := range whole {
		refused("cut to", n, whole[:n])
	}
	if err := os.WriteFile(part, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err = backup.Resume(t.Context(), file, m, alive); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := backup.Resume(t.Context(), file, m, alive); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Symlink("elsewhere", part); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Create(file); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link: %v", err)
	}
}

// Two backups do not write one file; one that was given up is replaced.
func TestPartInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	add(t, w, items(3))
	m := mark(t, w)
	if _, err := backup.Create(file); !errors.Is(err, backup.ErrInUse) {
		t.Error(err)
	}
	if _, err := backup.Resume(t.Context(), file, m, alive); !errors.Is(err, backup.ErrInUse) {
		t.Error(err)
	}
	w.Close()
	if w, err = backup.Create(file); err != nil {
		t.Fatal(err)
	}
	add(t, w, items(5))
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantItems(t, file, items(5))
}

// A large partial file is read in bounded steps, each of which may end it.
func TestResumeEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	w, err := backup.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 4<<20)
	for i, x := 0, uint32(1); i < len(value); i++ { // that zstd does not shrink
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		value[i] = byte(x)
	}
	add(t, w, []storage.Item{{Key: []byte("a"), Value: value}})
	m := mark(t, w)
	w.Close()
	n := 0
	if _, err := backup.Resume(t.Context(), file, m, func() error { n++; return storage.ErrConflict }); !errors.Is(err, storage.ErrConflict) || n != 1 {
		t.Errorf("%v after %d steps", err, n)
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, err := backup.Resume(ctx, file, m, alive); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if w, err = backup.Resume(t.Context(), file, m, alive); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantItems(t, file, []storage.Item{{Key: []byte("a"), Value: value}})
}
