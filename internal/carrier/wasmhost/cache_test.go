package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// The compilation cache is native code that is run as it is found: a place that
// others can write to is refused.
func TestCacheDirectory(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, in string) (dir string)
		want string // of the error, with DIR for where all of it is; empty if it is accepted
	}{
		{"one that is not there", func(t *testing.T, in string) string { return filepath.Join(in, "a", "b") }, ""},
		{"a private one", func(t *testing.T, in string) string { return folder(t, 0o700, in, "a") }, ""},
		{"one that others may read", func(t *testing.T, in string) string { return folder(t, 0o755, in, "a") }, ""},
		{"one that everybody may write", func(t *testing.T, in string) string { return folder(t, 0o777, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it contains native code that is executed unchecked"},
		{"one that its group may write", func(t *testing.T, in string) string { return folder(t, 0o770, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwx---): it contains native code that is executed unchecked"},
		{"a sticky one that everybody may write", func(t *testing.T, in string) string { return folder(t, 0o777|fs.ModeSticky, in, "a") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it contains native code that is executed unchecked"},
		{"below one that everybody may write", func(t *testing.T, in string) string { return filepath.Join(folder(t, 0o777, in, "a"), "b") },
			"compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it contains native code that is executed unchecked"},
		{"further below", func(t *testing.T, in string) string {
			return folder(t, 0o700, folder(t, 0o700, folder(t, 0o777, in, "a"), "b"), "c")
		}, "compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it contains native code that is executed unchecked"},
		{"below a sticky one, as /tmp is", func(t *testing.T, in string) string {
			return filepath.Join(folder(t, 0o777|fs.ModeSticky, in, "a"), "b")
		}, ""},
		{"a link to one that everybody may write", func(t *testing.T, in string) string {
			if err := os.Symlink(folder(t, 0o777, in, "a"), filepath.Join(in, "link")); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(in, "link")
		}, "compilation cache: DIR/a can be written by others (mode -rwxrwxrwx): it contains native code that is executed unchecked"},
		{"a file", func(t *testing.T, in string) string {
			name := filepath.Join(in, "a")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, ""},
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
	if want := "compilation cache: " + dir + " belongs to another user (uid 12345): it contains native code that is executed unchecked"; err == nil || err.Error() != want {
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

// The cache is only a cache: whatever has become of it, the module is loaded and works,
// the log has a word of it, and the next start has a whole cache again if it can.
func TestCacheThatIsDamaged(t *testing.T) {
	each := func(t *testing.T, dir string, do func(path string, size int64) error) {
		t.Helper()
		n := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, ".sum") {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			n++
			return do(path, info.Size())
		})
		if err != nil || n == 0 {
			t.Fatalf("%d files, %v", n, err)
		}
	}
	flip := func(at func(size int64) int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			each(t, dir, func(path string, size int64) error {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				b[at(size)] ^= 0x40
				return os.WriteFile(path, b, 0o600)
			})
		}
	}
	cut := func(n int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			each(t, dir, func(path string, size int64) error { return os.Truncate(path, min(n, size-1)) })
		}
	}
	damages := map[string]func(*testing.T, string){
		"emptied": cut(0), "cut in the header": cut(10), "cut in the code": cut(1000),
		"its last byte flipped": flip(func(size int64) int64 { return size - 1 }),
		"replaced by a folder": func(t *testing.T, dir string) {
			each(t, dir, func(path string, _ int64) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) })
		},
		"a list that is cut": func(t *testing.T, dir string) {
			lists, _ := filepath.Glob(filepath.Join(dir, "*.sum"))
			if len(lists) == 0 {
				t.Fatal("there is no list")
			}
			for _, l := range lists {
				if err := os.Truncate(l, 5); err != nil {
					t.Fatal(err)
				}
			}
		},
		"a list that is gone": func(t *testing.T, dir string) {
			lists, _ := filepath.Glob(filepath.Join(dir, "*.sum"))
			for _, l := range lists {
				if err := os.Remove(l); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	step := int64(1)
	if testing.Short() {
		step = 9
	}
	for at := int64(0); at < 48; at += step { // the header, where a count is that wazero makes room for
		damages[fmt.Sprintf("its byte %d flipped", at)] = flip(func(int64) int64 { return at })
	}
	whole := filepath.Join(t.TempDir(), "cache")
	loadKV(t, whole, nil)
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			damage(t, dir)
			var log bytes.Buffer
			loadKV(t, dir, &log)
			if isFile := strings.Contains(name, "flipped") || strings.Contains(name, "cut in"); isFile && !strings.Contains(log.String(), "damaged") {
				t.Errorf("the log has no word of it: %s", &log)
			}
			log.Reset()
			loadKV(t, dir, &log)
			if name != "replaced by a folder" && log.Len() > 0 {
				t.Errorf("the next start: %s", &log)
			}
		})
	}
}

// What was not used for a month is removed; what is not of the cache stays, however old.
func TestCacheForgets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	loadKV(t, dir, nil)
	mine, err := os.ReadDir(dir)
	if err != nil || len(mine) != 2 {
		t.Fatalf("%v, %v", mine, err)
	}
	const old = "0123456789abcdef0123456789abcdef"
	for _, name := range []string{"letters", "wazero-v1.0.0-amd64-linux", old, "photos.sum", "0123456789abcdef"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, old+".sum"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	month := time.Now().Add(-31 * 24 * time.Hour)
	for _, e := range all {
		if err := os.Chtimes(filepath.Join(dir, e.Name()), month, month); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range mine { // but the list, which says when it was used
		if strings.HasSuffix(e.Name(), ".sum") {
			if err := os.Chtimes(filepath.Join(dir, e.Name()), time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := wasmhost.NewRuntime(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	after, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range after {
		left[e.Name()] = true
	}
	for _, name := range []string{"letters", "wazero-v1.0.0-amd64-linux", "photos.sum", "0123456789abcdef", mine[0].Name(), mine[1].Name()} {
		if !left[name] {
			t.Errorf("%s is gone", name)
		}
	}
	if left[old] || left[old+".sum"] {
		t.Errorf("what was not used for a month is still there: %v", left)
	}
}

// A folder that takes no files is done without: read-only, full, or not to be made at all.
func TestCacheThatCannotBeWritten(t *testing.T) {
	for name, dir := range map[string]func(t *testing.T) string{
		"a file": func(t *testing.T) string {
			name := filepath.Join(t.TempDir(), "a")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		},
		"below a file":  func(t *testing.T) string { return "/dev/null/cache" },
		"one of /proc":  func(t *testing.T) string { return "/proc/cache" },
		"a full device": fullDevice,
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			loadKV(t, dir(t), &log)
			if !strings.Contains(log.String(), "cannot cache compiled code") {
				t.Errorf("the log has no word of it: %s", &log)
			}
		})
	}
}

// fullDevice is a folder on a file system without a free byte.
func fullDevice(t *testing.T) string {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8k,mode=0700", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("a full device takes the right to mount one: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// loadKV loads a module with the cache and uses it.
func loadKV(t *testing.T, dir string, log *bytes.Buffer) {
	t.Helper()
	ctx := context.Background()
	r, err := wasmhost.NewRuntime(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	o := wasmhost.Options{Name: "kv", Log: slog.New(slog.DiscardHandler)}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	m, err := r.Load(ctx, committed(t, "kv"), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Open(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, b, storage.Put([]byte("k"), []byte("v")))
	if it, err := b.Get(ctx, []byte("k")); err != nil || string(it.Value) != "v" {
		t.Fatalf("%q, %v", it.Value, err)
	}
	for _, c := range []interface{ Close(context.Context) error }{b, m, r} {
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
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
