package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// addFiles seeds a fuzz target with every file that the other tests read.
func addFiles(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no test data: %v", err)
	}
	for _, file := range append(files, "default.yaml") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "PLINTH_SERVER__HTTP", "server.http", "x")
	}
}

// FuzzLoad feeds any file, variable and flag to Load. It either loads, and then what
// is shown of it loads as the same, or says why not, with errors that have a place
// and are lines of readable text.
func FuzzLoad(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, content []byte, variable, flag, text string) {
		if strings.Contains(string(content)+text, "${file:") {
			return // files of this machine are nobody's business
		}
		o := Options{File: "fuzz.yaml", Content: content, Environ: []string{variable + "=" + text}, Flags: map[string]string{flag: text}}
		if content == nil {
			o.Content = []byte{}
		}
		c, err := Load(o)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 || len(all) > strictyaml.MaxErrors+1 {
				t.Fatalf("%T: %v", err, err)
			}
			for _, e := range all {
				if e.Message == "" || len(e.Error()) > 1<<14 {
					t.Errorf("%q", e)
				}
				if e.Pos == (Position{}) && !strings.Contains(e.Message, "more errors") {
					t.Errorf("no position: %q", e)
				}
			}
			return
		}
		shown, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Stores {
			for _, n := range append([]*Node{s.Backend.Config}, nodesOf(s.Pipeline)...) {
				if out, err := n.JSON(); err == nil && out != nil && !json.Valid(out) {
					t.Errorf("not JSON: %q", out)
				}
			}
		}
		if c.Server.Token.Len() > 0 {
			return // it is hidden, so what is shown is not the same
		}
		again, err := Load(Options{File: "fuzz.yaml", Content: shown, Environ: o.Environ})
		if err != nil && !strings.Contains(string(shown), "${env:") {
			t.Fatalf("what is shown does not load: %v\n%s", err, shown)
		}
		if err == nil && !sameServer(c.Server, again.Server) {
			t.Errorf("got %+v, was %+v", again.Server, c.Server)
		}
	})
}

func nodesOf(pipeline []Stage) []*Node {
	var out []*Node
	for _, s := range pipeline {
		out = append(out, s.Config)
	}
	return out
}

// FuzzExpand feeds any text to the references. Text without a dollar stays as it
// is, and what comes out is made of the text and of what the references stand for.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "${", "${env:A}", "${env:A:-b}", "${file:x}", "$${env:A}", "${a${b}}", "a${env:}b", "${env:A}${env:A}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		asked := 0
		out, found, err := expand(text, func(string, string) (string, error) { asked++; return "\x00", nil })
		if err != nil {
			if out != "" || !strings.Contains(text, "${") {
				t.Errorf("%q, %v", out, err)
			}
			return
		}
		if found != (asked > 0) || strings.Count(out, "\x00") != asked+strings.Count(stripped(text), "\x00") {
			t.Errorf("%q: %q, asked %d times", text, out, asked)
		}
		if !strings.Contains(text, "$") && out != text {
			t.Errorf("%q became %q", text, out)
		}
		if utf8.ValidString(text) && !utf8.ValidString(out) {
			t.Errorf("%q became %q", text, out)
		}
		// Doubling the dollars says exactly that text, whatever it is.
		if same, found, err := expand(strings.ReplaceAll(text, "$", "$$"), nil); err != nil || found || same != text {
			t.Errorf("%q: doubled it became %q, %v", text, same, err)
		}
	})
}

// stripped is text without its references.
func stripped(text string) string {
	out, _, _ := expand(text, func(string, string) (string, error) { return "", nil })
	return out
}
