package strictjson

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What another reader would take in another way, or in two, is refused.
func TestRefused(t *testing.T) {
	for body, want := range map[string]string{
		``:                                   "unexpected EOF",
		`[]`:                                 "want an object",
		`{} {}`:                              "something follows the object",
		`{"a": 1, "a": 2}`:                   `duplicate field "a"`,
		`{"a": {"b": 1, "b": 2}}`:            `duplicate field "a.b"`,
		`{"a": [{}, {"b": 1, "\u0062": 2}]}`: `duplicate field "a[1].b"`,
		"{\"a\": \"\xff\"}":                  "not valid UTF-8",
		`{"a": "\ud800"}`:                    "invalid surrogate pair",
		`{"a": "\udc00\ud800"}`:              "invalid surrogate pair",
		`{"a": "\ud800\u0041"}`:              "in string at byte 7",
		`{"a":` + strings.Repeat("[", 20):    "nested deeper than 16",
		`{"a": [` + strings.Repeat("1,", 30): "JSON values",
	} {
		if _, err := Parse([]byte(body), 20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", body, err, want)
		}
	}
}

// Bytes are text, or else base64, and an empty text is not an absent one.
func TestBytes(t *testing.T) {
	o, err := Parse([]byte(`{"text": "\u00fc\\ud800", "b64": "/wA=", "empty": "", "none64": "", "bad64": "/w", "both": "", "both64": "", "n": 1}`), 20)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"text": `ü\ud800`, "b": "\xff\x00", "empty": "", "none": ""} {
		if got, err := o.Need(name); err != nil || got == nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"absent": "absent (or absent64) is missing", "bad": "not base64", "both": "exclude each other", "n": "must be a string"} {
		if _, err := o.Need(name); !errors.Is(err, storage.ErrInvalidArgument) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := o.Only("text"); err == nil || !strings.Contains(err.Error(), `unknown name "b64"`) {
		t.Errorf("%v", err)
	}
}

// What is written is what is read, with a value of several pieces and of half a character
// at the end of one, and is text where it can be.
func TestWriter(t *testing.T) {
	long := strings.Repeat("é", pieceBytes)
	var b bytes.Buffer
	w := NewWriter(&b)
	for range 2 { // a writer is used again
		b.Reset()
		w.Bytes("key", []byte("a\"\\\n\x00\u2028é"))
		w.Bytes("value", []byte("x"+long))
		w.Bytes("other", append([]byte(long), 0xff))
		w.Bytes("empty", []byte{})
		w.Uint("n", math.MaxUint64)
		w.Time("at", time.UnixMilli(1))
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(b.String(), `{"key":"a\"\\\n\u0000`+"\u2028é"+`","value":"xé`) || !strings.HasSuffix(b.String(),
		`,"empty":"","n":"18446744073709551615","at":"1970-01-01T00:00:00.001Z"}`+"\n") {
		t.Errorf("%.60s", b.String())
	}
	o, err := Parse(b.Bytes(), 20)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"key": "a\"\\\n\x00\u2028é", "value": "x" + long, "other": long + "\xff", "empty": ""} {
		if got, err := o.Need(name); err != nil || string(got) != want {
			t.Errorf("%s: %.20q, %v", name, got, err)
		}
	}
}

// An error of the writer below is reported at the end.
func TestWriterFails(t *testing.T) {
	r, below := io.Pipe()
	r.Close()
	w := NewWriter(below)
	w.Text("key", "k")
	if err := w.End(); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
}
