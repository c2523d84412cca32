package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	p := newProgress(&bytes.Buffer{}, "imported", 1000)
	if got := p.text(500, 250, 2*time.Second); got != "imported 500 items, 250/s, 25%, 6s left" {
		t.Error(got)
	}
	p.total = 0
	if got := p.text(500, 250, 2*time.Second); got != "imported 500 items, 250/s" {
		t.Error(got)
	}

	var out bytes.Buffer
	p = newProgress(&out, "imported", 1000)
	p.last = time.Now().Add(-time.Hour)
	p.at(500, 500)
	p.end(1000, 1000)
	if !strings.HasPrefix(out.String(), "imported 1000 items in ") || strings.Count(out.String(), "\n") != 1 || strings.ContainsAny(out.String(), "\r\x1b") {
		t.Errorf("%q", out.String())
	}

	out.Reset()
	p.terminal = true
	p.last = time.Now().Add(-everyOnTerminal)
	p.at(1, 1)
	if !strings.HasPrefix(out.String(), "\r\x1b[Kimported 1 items") || strings.Contains(out.String(), "\n") {
		t.Errorf("on a terminal: %q", out.String())
	}
}

// What people alone are shown is nothing elsewhere, but for the outcome; a total that is known
// later gives a time that is left.
func TestProgressForPeople(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "copied", 0)
	p.last = time.Now().Add(-time.Hour)
	p.at(1, 1)
	p.leave()
	if out.Len() != 0 {
		t.Errorf("%q", out.String())
	}
	p.end(1, 1)
	if !strings.HasPrefix(out.String(), "copied 1 items in ") {
		t.Errorf("%q", out.String())
	}

	out.Reset()
	p.before = 3
	p.end(4, 4)
	if !strings.HasPrefix(out.String(), "copied 4 items in ") || !strings.HasSuffix(out.String(), "; 7 items in all, including those of earlier runs\n") {
		t.Errorf("with items of earlier runs: %q", out.String())
	}

	out.Reset()
	p.terminal = true
	stop := p.count(t.Context(), fake{keys: []string{"a", "b", "c", "d"}}, bounds{})
	for end := time.Now().Add(10 * time.Second); p.counted.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	stop()
	if got := p.text(1, 1, 2*time.Second); got != "copied 1 items, 0/s, 25%, 6s left" {
		t.Error(got)
	}
	p.last = time.Now().Add(-everyOnTerminal)
	p.at(1, 1)
	p.leave()
	if !strings.HasSuffix(out.String(), " left\n") {
		t.Errorf("an error would stand in the same line: %q", out.String())
	}
}

func TestKeyPath(t *testing.T) {
	for key, want := range map[string]string{
		"a": "/keys/a", "a/b": "/keys/a/b", "a b": "/keys/a%20b", "%2F": "/keys/%252F", "?#": "/keys/%3F%23", "\xff": "/keys/%FF",
		"": "/keys/?key64=", "..": "/keys/?key64=Li4%3D", "a/./b": "/keys/?key64=YS8uL2I%3D", "a//b": "/keys/?key64=YS8vYg%3D%3D", "a/": "/keys/?key64=YS8%3D",
	} {
		if got := keyPath([]byte(key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":"b","expires_at":"2030-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"key64":"/w==","value64":""}`))
	f.Add([]byte(`{"key":"a","value":"b"}{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := parseLine(raw, false)
		if err != nil {
			return
		}
		var written bytes.Buffer
		if err := l.writeJSON(&written); err != nil {
			t.Fatal(err)
		}
		again, err := parseLine(written.Bytes(), false)
		if err != nil || !bytes.Equal(again.key, l.key) || !bytes.Equal(again.value, l.value) || again.expiresAt != l.expiresAt {
			t.Errorf("%q comes back as %q, %v", raw, written.Bytes(), err)
		}
	})
}
