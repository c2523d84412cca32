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
		"an array that is cut":       {`[{"key":"a","value":"1"},{"key":"b"`, ": item 2: "},
		"an array that does not end": {`[{"key":"a","value":"1"}`, ": item 2: "},
		"an array and more":          {array + "x", "data after the array"},
		"an array of what is none":   {`[{"key":"a","value":"1"},5]`, ": item 2: "},
		"gzip that is cut":           {zipped(lines)[:20], "the gzip data is truncated"},
		"gzip and more":              {zipped(lines) + "and more than a header", "other data follows"},
		"gzip that is damaged":       {zipped(lines)[:30] + "\x00\x00" + zipped(lines)[32:], "the gzip data is"},
		"gzip without a header":      {"\x1f\x8b\x00", "gzip: "},
		"gzip in gzip":               {zipped(zipped(lines)), "gzip in gzip is not supported: decompress the file, for example with gzip -dc"},
		"bzip2":                      {"BZh91AY&SY", "bzip2 is not supported"},
		"xz":                         {"\xfd7zXZ\x00\x00", "xz is not supported"},
		"zstd":                       {"\x28\xb5\x2f\xfd\x00", "zstd is not supported"},
		"zip":                        {"PK\x03\x04\x00", "zip is not supported"},
		"UTF-16 without a mark":      {"{\x00\"\x00k\x00", "iconv -f UTF-16LE -t UTF-8"},
		"UTF-16, the other way too":  {"\x00{\x00\"\x00k", "iconv -f UTF-16BE -t UTF-8"},
		"UTF-32":                     {"\xff\xfe\x00\x00{\x00\x00\x00", "iconv -f UTF-32 -t UTF-8"},
		"UTF-32 without a mark":      {"{\x00\x00\x00", "UTF-32 is not supported: convert the file to UTF-8, for example with iconv -f UTF-32LE -t UTF-8"},
		"an object over lines":       {"{\n  \"key\": \"a\",\n  \"value\": \"1\"\n}\n", ":1: the object does not end on its line: write each object on one line, for example with jq -c '.'"},
		"an object that is cut":      {`{"key":"a"`, ":1: unexpected EOF"},
		"commas":                     {`{"key":"a","value":"1"},` + "\n" + `{"key":"b","value":"2"},` + "\n", ":1: a comma follows the object"},
		"CR alone":                   {strings.ReplaceAll(lines, "\n", "\r"), `with tr '\r' '\n'`},

		"a name in other case": {`{"Key":"a","value":"1"}`, `unknown name "Key"`},
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
