package wasmhost_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/host/wasmhost"
)

// The compilation cache is native code that is run as it is found: a place that
// others can write to is refused.
func TestCacheDirectory(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, in string) (dir string)
		want string // of the error, with DIR for where all of it is; empty: it is taken
	}{
		{"one that is not there", func(t *testing.T, in string) string { return filepath.Join(in, "a", "b") }, ""},
		{"a private one", func(t *testing.T, in string) string { return folder(t, 0o700, in, "a") }, ""},
		{"one that others may read", func(t *testing.T, in string) string { return folder(t, 0o755, in, "a") }, ""},
		{"one that everybody may write", func(t *testing.T, in string) string { return folder(t, 0o777, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it holds native code that is run as it is found"},
		{"one that its group may write", func(t *testing.T, in string) string { return folder(t, 0o770, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwx---): it holds native code that is run as it is found"},
		{"a sticky one that everybody may write", func(t *testing.T, in string) string { return folder(t, 0o777|fs.ModeSticky, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it holds native code that is run as it is found"},
		{"below one that everybody may write", func(t *testing.T, in string) string { return filepath.Join(folder(t, 0o777, in, "a"), "b") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it holds native code that is run as it is found"},
		{"further below", func(t *testing.T, in string) string {
			return folder(t, 0o700, folder(t, 0o700, folder(t, 0o777, in, "a"), "b"), "c")
		}, "compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it holds native code that is run as it is found"},
		{"below a sticky one, as /tmp is", func(t *testing.T, in string) string {
			return filepath.Join(folder(t, 0o777|fs.ModeSticky, in, "a"), "b")
		}, ""},
		{"a link to one that everybody may write", func(t *testing.T, in string) string {
			if err := os.Symlink(folder(t, 0o777, in, "a"), filepath.Join(in, "link")); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(in, "link")
		}, "compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it holds native code that is run as it is found"},
		{"a file", func(t *testing.T, in string) string {
			name := filepath.Join(in, "a")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, "compilation cache: mkdir DIR/a: not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := t.TempDir()
			r, err := wasmhost.NewRuntime(context.Background(), c.make(t, in))
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want == "":
				if err := r.Close(context.Background()); err != nil {
					t.Error(err)
				}
			case err == nil || err.Error() != strings.ReplaceAll(c.want, "DIR", in):
				t.Errorf("%v, want %s", err, strings.ReplaceAll(c.want, "DIR", in))
			}
		})
	}
}

func TestCacheDirectoryOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := folder(t, 0o700, t.TempDir(), "a")
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	_, err := wasmhost.NewRuntime(context.Background(), dir)
	if want := "compilation cache: " + dir + " belongs to another user (uid 12345)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What was compiled is there the next time, for its owner alone.
func TestCacheIsUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var files int
	for i := range 2 {
		r, err := wasmhost.NewRuntime(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Load(context.Background(), committed(t, "kv"), wasmhost.Options{Name: "kv"})
		if err != nil {
			t.Fatal(err)
		}
		openModule(t, m, "")
		found := 0
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err != nil || info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s can be written by others: %v, %v", path, info.Mode(), err)
			}
			if !d.IsDir() {
				found++
			}
			return nil
		})
		if err != nil || found == 0 || i > 0 && found != files {
			t.Errorf("run %d: %d files, %d before, %v", i, found, files, err)
		}
		files = found
		t.Cleanup(func() {
			m.Close(context.Background())
			r.Close(context.Background())
		})
	}
}

func folder(t *testing.T, mode fs.FileMode, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return dir
}
