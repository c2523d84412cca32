package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

func TestExpand(t *testing.T) {
	lookup := func(scheme, arg string) (string, error) {
		if scheme != "s" {
			return "", errors.New("is unknown")
		}
		return "<" + arg + ">", nil
	}
	tests := []struct {
		in, want string
		found    bool
	}{
		{"", "", false},
		{"plain", "plain", false},
		{"$", "$", false},
		{"a$b$", "a$b$", false},
		{"$$", "$", false},
		{"$$$", "$$", false},
		{"$$$$", "$$", false},
		{"$${s:a}", "${s:a}", false},
		{"$$${s:a}", "$<a>", true},
		{"${s:a}", "<a>", true},
		{"${s:}", "<>", true},
		{"${s}", "<>", true},
		{"x${s:a}y${s:b}z", "x<a>y<b>z", true},
		{"${s:a:-b}", "<a:-b>", true},
		{"${s:$$}", "<$$>", true}, // a reference's own text is taken as it is
		{"}{", "}{", false},
		{"${", "the reference ${ is not closed with }", false},
		{"${s:a", "the reference ${s:a is not closed with }", false},
		{"${s:a} ${", "the reference ${ is not closed with }", true},
		{"${s:${s:a}}", "the reference ${s:${s:a} contains another reference: references cannot be nested", false},
		{"${}", "the reference ${} is unknown", false},
		{"${x:a}", "the reference ${x:a} is unknown", false},
		{"${S:a}", "the reference ${S:a} is unknown", false},
	}
	for _, tt := range tests {
		got, found, err := expand(tt.in, lookup)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || found != tt.found {
			t.Errorf("%q: got %q, %v; want %q, %v", tt.in, got, found, tt.want, tt.found)
		}
	}
}

func TestReferences(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"plain": "text", "line": "text\n", "crlf": "text\r\n", "lines": "a\n\n", "empty": "",
		"again": "x ${file:again}", "env": "${env:X}", "dollar": "pa$$word${",
		"binary": "\xff", "limit": strings.Repeat("x", maxRefFile), "over": strings.Repeat("x", maxRefFile+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const again = " contains another reference: references are not expanded recursively"
	tests := []struct{ in, want string }{
		{"env:SET", "value"},
		{"env:SET:-other", "value"},
		{"env:EMPTY", "names a variable that is empty: use ${env:EMPTY:-} to allow that"},
		{"env:EMPTY:-", ""},
		{"env:EMPTY:-other", "other"},
		{"env:NO:-other", "other"},
		{"env:NO:-", ""},
		{"env:NO:-a:-b", "a:-b"},
		{"env:NO", "names a variable that is not set"},
		{"env:", "has an invalid variable name: use letters, digits and underscores"},
		{"env:A B", "has an invalid variable name: use letters, digits and underscores"},
		{"env:SET:other", "has an invalid variable name: use letters, digits and underscores"},
		{"env:AGAIN", "names a variable that" + again},
		{"env:BINARY", "names a variable that is not UTF-8"},
		{"file:plain", "text"},
		{"file:line", "text"},
		{"file:crlf", "text"},
		{"file:lines", "a\n"},
		{"file:empty", "names a file that is empty"},
		{"file:dollar", "pa$$word${"},
		{"file:./plain", "text"},
		{"file:" + filepath.Join(dir, "plain"), "text"},
		{"file:limit", strings.Repeat("x", maxRefFile)},
		{"file:over", "cannot be read: is larger than 65536 bytes"},
		{"file:none", "cannot be read: no such file"},
		{"file:.", "cannot be read: is a directory"},
		{"file:/dev/null", "cannot be read: is not a regular file"},
		{"file:a\x00b", "contains a zero byte in its path"},
		{"file:plain/x", "cannot be read: not a directory"},
		{"file:binary", "names a file that is not UTF-8"},
		{"file:again", "names a file that" + again},
		{"file:env", "names a file that" + again},
		{"http://x", "is of an unknown kind: use ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, and $$ for a dollar sign"},
	}
	for _, tt := range tests {
		r := resolver{dir: dir, env: newEnviron([]string{"SET=value", "SET=second", "EMPTY=", "AGAIN=${env:AGAIN}", "BINARY=\xff"})}
		scheme, arg, _ := strings.Cut(tt.in, ":")
		got, err := r.lookup(scheme, arg)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, strictyaml.Clip(got), strictyaml.Clip(tt.want))
		}
	}

	// References that are each small enough are bounded together, too.
	c := []byte("stores: { a: { backend: { plugin: memory }, require: [" + strings.Repeat(`"${file:limit}", `, 17) + "] } }")
	_, err := Load(Options{File: filepath.Join(dir, "p.yaml"), Content: c})
	if err == nil || !strings.Contains(err.Error(), "exceeds the limit of 1048576 bytes for all references together") {
		t.Errorf("too much: %.300v", err)
	}
}

// What stands in the place of a secret may hold that secret, or another; it is
// shown as it is, once.
func TestWhatIsShownForASecret(t *testing.T) {
	c := load(t, Options{}, `
stores:
  a: { backend: { plugin: "${env:NONE:-memory}", config: { a: "${env:NONE:-none}" } } }
`)
	err := c.Root().Errorf("stores.a", "known are memory, none and memories")
	if want := "known are ${env:NONE:-memory}, ${env:NONE:-none} and memories"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
