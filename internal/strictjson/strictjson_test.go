package strictjson

import (
	"errors"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// What another reader would take in another way, or in two, is refused.
func TestRefused(t *testing.T) {
	for body, want := range map[string]string{
		``:                                   "unexpected EOF",
		`[]`:                                 "want an object",
		`{} {}`:                              "something follows the object",
		`{"a": 1, "a": 2}`:                   "a is there twice",
		`{"a": {"b": 1, "b": 2}}`:            "a.b is there twice",
		"{\"a\": \"\xff\"}":                  "not valid UTF-8",
		`{"a": "\ud800"}`:                    "half of a surrogate pair at byte 7",
		`{"a": "\udc00\ud800"}`:              "half of a surrogate pair at byte 7",
		`{"a": "\ud800\u0041"}`:              "half of a surrogate pair at byte 7",
		`{"a":` + strings.Repeat("[", 20):    "nested deeper than 16",
		`{"a": [` + strings.Repeat("1,", 30): "JSON values",
	} {
		if _, err := Parse([]byte(body), 20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", body, err, want)
		}
	}
}

// Bytes are text, or base64 beside it, and an empty text is not an absent one.
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
