package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC)

// A version takes what is unreleased, once, and leaves an empty section.
func TestCut(t *testing.T) {
	const before = "# Changelog\n\nText.\n\n## Unreleased\n\n- New.\n\n## 0.1.0 (2026-01-01)\n\n- Old.\n"
	got, err := cutText([]byte(before), "v0.2.0", day)
	if want := "# Changelog\n\nText.\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0 (2026-01-01)\n\n- Old.\n"; err != nil || string(got) != want {
		t.Fatalf("%v:\n%s", err, got)
	}
	for text, want := range map[string]string{
		string(got): "nothing is unreleased",
		strings.Replace(before, "## Unr", "## Not", 1): "no section",
		strings.Replace(before, "0.1.0", "0.3.0", 1):   "was cut already",
	} {
		if _, err := cutText([]byte(text), "v0.3.0", day); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if news, err := notes(got, "v0.2.0"); err != nil || string(news) != "- New.\n" {
		t.Errorf("the notes are %q, %v", news, err)
	}
	real, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cutText(real, "v9999.0.0", day); err != nil {
		t.Errorf("the changelog as it is: %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ cut, of, want string }{
		{"", "", "set -cut or -version"}, {"v0.1.0", "v0.1.0", "set -cut or -version"},
		{"0.1.0", "", "is not a version"}, {"", "v1.2", "is not a version"}, {"", "v1.2.3 -X main.x=y", "is not a version"},
		{"", "v9999.0.0", "CHANGELOG.md"},
	} {
		if err := run(c.cut, c.of, t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The program is the same, byte for byte, from two folders, and knows its version.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program: make test does")
	}
	s := source{"v9.8.7", "0123456789abcdef"}
	copied := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(copied, tree{os.DirFS("../..")}); err != nil {
		t.Fatal(err)
	}
	var digests [2][32]byte
	var program string
	for i, root := range []string{"../..", copied} {
		program = filepath.Join(t.TempDir(), "plinth")
		if err := build(root, s, runtime.GOOS+"/"+runtime.GOARCH, program); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		digests[i] = sha256.Sum256(content)
	}
	if digests[0] != digests[1] {
		t.Error("two builds of one source differ")
	}
	out, err := exec.Command(program, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var said map[string]string
	if err := json.Unmarshal(out, &said); err != nil || said["version"] != s.version || said["revision"] != s.revision {
		t.Errorf("%s, %v", out, err)
	}
}

// An archive is the same whenever it is written, and has the program and the files that
// belong to it.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("binary"), 0o700); err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i, name := range []string{"a.tar.gz", "b.tar.gz"} {
		if err := pack("../..", filepath.Join(dir, name), "plinth-v1", program, day); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(program, day, day); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same files differ")
	}
	z, err := gzip.NewReader(bytes.NewReader(archives[0]))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if names = append(names, h.Name); h.Uid != 0 || !h.ModTime.Equal(day) {
			t.Errorf("%+v", h)
		}
	}
	if want := "plinth-v1/plinth plinth-v1/LICENSE plinth-v1/README.md plinth-v1/CHANGELOG.md plinth-v1/plinth.yaml plinth-v1/plinth.service"; strings.Join(names, " ") != want {
		t.Errorf("it has %q", names)
	}
	if err := sums(dir, []string{"a.tar.gz"}); err != nil {
		t.Fatal(err)
	}
	if sum, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS")); err != nil || len(sum) != 64+2+len("a.tar.gz")+1 {
		t.Errorf("%q, %v", sum, err)
	}
}

// tree is the source without what git and builds keep next to it.
type tree struct{ fs.FS }

func (t tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == ".git" || e.Name() == "bin" || e.Name() == "dist" || !e.IsDir() && !e.Type().IsRegular()
	}), err
}
