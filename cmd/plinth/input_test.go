package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What other programs make of a file is taken where it is clear what is meant, and refused
// with what to do where it is not.
func TestImportOfOtherForms(t *testing.T) {
	web, _ := serveHere(t, "stores: { default: { backend: { plugin: memory } } }")
	const lines = `{"key":"a","value":"1"}` + "\n" + `{"key":"b","value":"2"}` + "\n"
	const array = ` [ {"key":"a","value":"1"}, ` + "\n" + `{"key":"b","value":"2"} ]` + "\n"
	zipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	file := filepath.Join(t.TempDir(), "in")
	for name, c := range map[string]struct{ text, refused string }{
		"lines":                      {lines, ""},
		"a byte order mark":          {"\ufeff" + lines, ""},
		"gzip":                       {zipped(lines), ""},
		"gzip, a mark, an array":     {zipped("\ufeff" + array), ""},
		"lines that end as on DOS":   {strings.ReplaceAll(lines, "\n", "\r\n"), ""},
		"an array":                   {array, ""},
		"UTF-16":                     {"\xff\xfe{\x00", "iconv -f UTF-16 -t UTF-8"},
		"UTF-16, the other way":      {"\xfe\xff\x00{", "iconv -f UTF-16 -t UTF-8"},
		"an array that is cut":       {`[{"key":"a","value":"1"},{"key":"b"`, ":2: "},
		"an array that does not end": {`[{"key":"a","value":"1"}`, ":2: "},
		"an array and more":          {array + "x", "data after the array"},
		"an array of what is none":   {`[{"key":"a","value":"1"},5]`, ":2: "},
		"gzip that is cut":           {zipped(lines)[:20], "unexpected EOF"},
		"a name in other case":       {`{"Key":"a","value":"1"}`, `unknown name "Key"`},
	} {
		done(t, "clear", "--all", "--addr", web)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := program(t, "import", file, "--addr", web)
		if c.refused != "" {
			if code != exitFailed || !strings.Contains(errs, c.refused) {
				t.Errorf("%s: %d\n%s%s, want %s", name, code, out, errs, c.refused)
			}
			continue
		}
		if got := done(t, "export", "--addr", web); code != exitDone || got != lines {
			t.Errorf("%s: %d, %s, it holds %s", name, code, errs, got)
		}
	}
}
