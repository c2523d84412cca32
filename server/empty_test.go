package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// forms are requests with one field left open, as %s: a name and a value, in the form
// of a query or of JSON.
var forms = []struct {
	method, path, body string
	field              string
}{
	{"GET", "/keys?", "", "prefix"},
	{"GET", "/keys?", "", "start"},
	{"GET", "/keys?", "", "end"},
	{"GET", "/keys?start=a&", "", "end"},
	{"GET", "/keys?end=c&", "", "start"},
	{"GET", "/keys?reverse=true&", "", "end"},
	{"DELETE", "/keys?", "", "prefix"},
	{"DELETE", "/keys?", "", "start"},
	{"DELETE", "/keys?", "", "end"},
	{"DELETE", "/keys?start=a&", "", "end"},
	{"POST", "/get", `{"keys": [{%s}]}`, "key"},
	{"POST", "/apply", `{"ops": [{"op": "put", "value": "new", %s}]}`, "key"},
	{"POST", "/apply", `{"ops": [{"op": "put", "key": "a", %s}]}`, "value"},
	{"POST", "/apply", `{"ops": [{"op": "delete", %s}]}`, "key"},
	{"POST", "/apply", `{"ops": [{"op": "delete_range", %s}]}`, "start"},
	{"POST", "/apply", `{"ops": [{"op": "delete_range", %s}]}`, "end"},
	{"POST", "/apply", `{"ops": [{"op": "delete_range", "start": "a", %s}]}`, "end"},
	{"POST", "/apply", `{"ops": [{"op": "delete_range", "end": "c", %s}]}`, "start"},
	{"POST", "/apply", `{"checks": [{"is": "present", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "key"},
	{"POST", "/apply", `{"checks": [{"is": "absent", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "key"},
	{"POST", "/apply", `{"checks": [{"key": "void", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "value"},
	{"POST", "/apply", `{"checks": [{"not_newer_than": "1", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "start"},
	{"POST", "/apply", `{"checks": [{"not_newer_than": "1", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "end"},
	{"POST", "/apply", `{"checks": [{"not_newer_than": "1", "start": "a", %s}], "ops": [{"op": "delete", "key": "a"}]}`, "end"},
}

// Text and base64 are two forms of one field: whatever the value, the empty one
// included, both give the same answer and leave the same store behind.
func TestTextAndBase64AreTheSame(t *testing.T) {
	for _, f := range forms {
		for _, value := range []string{"", "a", "b", "\x00", "zz"} {
			t.Run(fmt.Sprintf("%s %s%s %s=%q", f.method, f.path, f.body, f.field, value), func(t *testing.T) {
				send := func(name, value string) (answer, string) {
					s := serve(t, nil)
					s.fill("", "a", "b", "c", "z")
					s.must(s.put("/keys/void", ""), 204)
					return s.field(f.method, f.path, f.body, name, value), s.everything()
				}
				text, left := send(f.field, value)
				coded, left64 := send(f.field+"64", base64.StdEncoding.EncodeToString([]byte(value)))
				coded.body = strings.ReplaceAll(coded.body, f.field+"64", f.field)
				if text.status != coded.status || text.body != coded.body {
					t.Errorf("text: %d %s\nbase64: %d %s", text.status, text.body, coded.status, coded.body)
				}
				if left != left64 {
					t.Errorf("text leaves %s, base64 leaves %s", left, left64)
				}
			})
		}
	}
}

// field sends a request with one more field.
func (s *served) field(method, path, body, name, value string) answer {
	if body == "" {
		return s.raw(method+" "+base+path+name+"="+url.QueryEscape(value), "")
	}
	quoted := strings.ReplaceAll(fmt.Sprintf("%q", value), `\x00`, `\u0000`)
	return s.json(path, fmt.Sprintf(body, fmt.Sprintf("%q: %s", name, quoted)))
}

func (s *served) everything() string {
	var b strings.Builder
	for it, err := range s.store.Prefix(context.Background(), nil, storage.RangeOptions{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%q=%q ", it.Key, it.Value)
	}
	return b.String()
}

// An empty end selects nothing, and an empty start narrows nothing.
func TestEmptyBounds(t *testing.T) {
	s := serve(t, nil)
	s.fill("a", "zzc", "zzd")
	all := s.everything()
	for _, op := range []string{`"start": "zzc", "end64": ""`, `"start": "zzc", "end": ""`, `"end64": ""`, `"end": ""`} {
		s.must(s.json("/apply", `{"ops": [{"op": "delete_range", `+op+`}]}`), 200)
		if got := s.everything(); got != all {
			t.Fatalf("delete_range with %s left %s of %s", op, got, all)
		}
	}
	for _, op := range []string{`"start": ""`, `"start64": ""`} {
		if a := s.json("/apply", `{"ops": [{"op": "delete_range", `+op+`}]}`); a.status != 400 {
			t.Errorf("delete_range of everything with %s: %d %s, want 400", op, a.status, a.body)
		}
	}
	s.must(s.json("/apply", `{"ops": [{"op": "put", "key64": "", "value64": ""}]}`), 200)
	s.has("", "")
}
