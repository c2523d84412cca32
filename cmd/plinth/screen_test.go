package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const forged = "no\x1b[2J such\x1b]0;t\x07\rplinth: ok\n\u009b31m \u202egnp\xff"

func TestEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"":               "",
		"a\tb\nβ 日本":     "a\tb\nβ 日本",
		forged:           `no\x1b[2J such\x1b]0;t\x07\x0dplinth: ok` + "\n" + `\u009b31m \u202egnp\xff`,
		"\x00\x7f\ufeff": `\x00\x7f\ufeff`,
	} {
		if got := string(escaped([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzEscaped(f *testing.F) {
	f.Add([]byte(forged))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, r := range string(escaped(text)) {
			if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e {
				t.Errorf("%q", r)
			}
		}
	})
}

// What a server says of an error is one line, whatever is in it.
func TestServerErrorsOnTheTerminal(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte(`{"title":"x","code":"internal","detail":"no\u001b[2J such\nplinth: ok\u202egnp"}`))
	}))
	defer srv.Close()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"get", "--addr", srv.URL, "k"}, env{stdout: &out, stderr: &errs})
	if code != exitFailed || strings.ContainsAny(errs.String(), "\x1b\u202e") || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("%d, %q", code, errs.String())
	}
}

// Commands that print for people print escapes; the others print what there is.
func TestOutputOfCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a\x1b[2Jb.yaml")
	if err := os.WriteFile(file, []byte("stores: { default: { backend: { plugin: memory } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"check", file}, env{stdout: &out, stderr: &errs, environ: os.Environ()}); code != exitDone {
		t.Fatalf("%d, %s", code, errs.String())
	}
	if !strings.Contains(out.String(), `a\x1b[2Jb.yaml: ok`) || strings.Contains(out.String(), "\x1b") {
		t.Errorf("check: %q", out.String())
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\x1b\xff")) }))
	defer srv.Close()
	out.Reset()
	if run(t.Context(), []string{"get", "--addr", srv.URL, "k"}, env{stdout: &out, stderr: &errs}); out.String() != "\x1b\xff" {
		t.Errorf("get into a pipe: %q", out.String())
	}
}
