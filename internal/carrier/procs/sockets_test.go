package procs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A folder for sockets that others could put another in the place of is refused.
func TestPlaceForSocketsOfOthers(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{0o777: "can be written by others", 0o777 | os.ModeSticky: "", 0o700: ""} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", dir)
		b, err := newPlugin(t, options(t, "memory")).Open(t.Context(), "", nil)
		if err == nil {
			err = b.Close(t.Context())
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %v: %v, want %q", mode, err, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A folder of a run that cannot be removed, as without a free descriptor, is removed later.
func TestFolderIsRemovedLater(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	o := options(t, "memory")
	p := newPlugin(t, o)
	var old, none syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	failed := 0
	for n := uint64(8); n < 64; n += 3 { // a start fails somewhere else for each
		none = old
		none.Cur = n
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		b, err := p.Open(context.Background(), "", nil)
		if err != nil {
			failed++
		} else if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if failed == 0 {
		t.Error("no start has failed: the test says nothing")
	}
	b, err := p.Open(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Where there is no place for its sockets, that is said.
func TestNoPlaceForSockets(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 60))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		long:                               "set TMPDIR to a shorter path",
		filepath.Join(t.TempDir(), "none"): "no folder for sockets: ",
	} {
		t.Setenv("TMPDIR", dir)
		if _, err := newPlugin(t, options(t, "memory")).Open(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
