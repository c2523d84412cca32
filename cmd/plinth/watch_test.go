package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file is read again when it may have changed, and only then.
func TestDigests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var seen digests
	look := func() string { return seen.of([]string{path}) }
	long, now := time.Now().Add(-time.Hour), time.Now()
	write("first", now)
	first := look()
	for _, c := range []struct {
		does    string
		content string
		at      time.Time
		changes bool
	}{
		{"the same time, which is young", "other", now, true},
		{"another time", "third", long, true},
		{"the same time and size, long ago: it is not read", "never", long, false},
		{"another size", "longer", long, true},
		{"a time to come", "soon!!", now.Add(time.Hour), true},
		{"the same time to come", "later!", now.Add(time.Hour), true},
	} {
		write(c.content, c.at)
		if second := look(); (second != first) != c.changes {
			t.Errorf("%s: %s, after %s", c.does, second, first)
		} else {
			first = second
		}
	}
	replacement := path + ".new"
	if err := os.WriteFile(replacement, []byte("anew!!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(replacement, now.Add(time.Hour), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, path); err != nil {
		t.Fatal(err)
	}
	if second := look(); second == first {
		t.Error("another file in its place is not read")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if second := look(); second == first {
		t.Error("it is gone, and counts as before")
	}
}
