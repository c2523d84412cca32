package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Messages about bodies name the field, and no type of Go.
func TestBadBodies(t *testing.T) {
	type one struct {
		Object string `json:"object"`
	}
	for _, c := range []struct{ body, want string }{
		{"", "the body is empty: it must be a JSON object"},
		{" \n", "the body is empty: it must be a JSON object"},
		{"[]", "the body must be a JSON object, not an array"},
		{`"x"`, "the body must be a JSON object, not a string"},
		{"7", "the body must be a JSON object, not a number"},
		{"true", "the body must be a JSON object, not true"},
		{`{"admin":true}`, `unknown field "admin"`},
		{`{"write":[{"object":"a"},{"Object":"a"}]}`, `unknown field "write[1].Object"`},
		{`{"grace":1,"grace":2}`, `duplicate field "grace"`},
		{`{"write":[{"object":"a","object":"b"}]}`, `duplicate field "write[0].object"`},
		{`{"write":[{"object":7}]}`, `field "write[0].object" must be a string, not a number`},
		{`{"write":{}}`, `field "write" must be an array, not an object`},
		{`{"write":[[]]}`, `field "write[0]" must be a JSON object, not an array`},
		{`{"grace":"1"}`, `field "grace" must be a whole number, not a string`},
		{`{"grace":1.5}`, `field "grace" must be a whole number of 64 bits`},
		{`{"grace":99999999999999999999}`, `field "grace" must be a whole number of 64 bits`},
		{`{"grace":1`, "the body is not JSON: it ends early"},
		{`{"grace":1} {}`, "the body is not JSON: invalid character '{' after top-level value at byte 12"},
		{"doc:a", "the body is not JSON: invalid character 'd' at start of value at byte 0"},
		{"{\"object\":\"\xff\"}", "the body is not JSON: invalid UTF-8 at byte 11"},
		{`{"` + strings.Repeat("x", 1000) + `":1}`, `unknown field "` + strings.Repeat("x", 100) + `…"`},
	} {
		var v struct {
			one
			Write []one `json:"write"`
			Grace int64 `json:"grace"`
		}
		err := Read(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body)), &v)
		status, p := describe(err)
		if status != http.StatusBadRequest || p.Code != "invalid_argument" || p.Detail != c.want {
			t.Errorf("%.60q: %d %q, want %q", c.body, status, p.Detail, c.want)
		}
	}
}
