package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// Every byte after /keys/ is the key's, unescaped once; nothing is cleaned and
// nothing redirects.
func TestKeysOfThePath(t *testing.T) {
	s := serve(t, nil)
	for path, key := range map[string]string{
		"":               "",
		"a":              "a",
		"a/b":            "a/b",
		"a//b":           "a//b",
		"/a":             "/a",
		"a/":             "a/",
		".":              ".",
		"..":             "..",
		"../x":           "../x",
		"a/../b":         "a/../b",
		"%2e%2E":         "..",
		"a%2Fb":          "a/b",
		"%252F":          "%2F",
		"%00":            "\x00",
		"%FF%FE":         "\xff\xfe",
		"a+b":            "a+b",
		"a%20b":          "a b",
		"%3Fx%23":        "?x#",
		"caf%C3%A9":      "café",
		"keys/keys/keys": "keys/keys/keys",
	} {
		value := "value of " + key
		s.must(s.put("/keys/"+path, value), 204)
		s.has(key, value)
		if a := s.must(s.get("/keys/"+path), 200); a.body != value {
			t.Errorf("%s: %q", path, a.body)
		}
		by64 := "/keys/?key64=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(base64.StdEncoding.EncodeToString([]byte(key)))
		if a := s.must(s.get(by64), 200); a.body != value {
			t.Errorf("%s as key64: %q", path, a.body)
		}
		s.must(s.raw("DELETE "+base+"/keys/"+path, ""), 204)
		s.lacks(key)
	}
}

func TestBadRequestsForOneKey(t *testing.T) {
	s := serve(t, nil)
	ctx := context.Background()
	if err := s.store.Set(ctx, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		request string
		status  int
		code    string
	}{
		{"GET " + base + "/keys/absent", 404, "not_found"},
		{"GET /v1/stores/none/keys/k", 404, "unknown_store"},
		{"GET /v1/stores/s/", 404, "not_found"},
		{"GET /v1/stores/none", 404, "unknown_store"},
		{"GET /v1/stores/s/nothing", 404, "not_found"},
		{"GET /", 404, "not_found"},
		{"GET /debug/pprof/", 404, "not_found"},
		{"GET " + base + "/keys/%", 400, ""},
		{"GET " + base + "/keys/%zz", 400, ""},
		{"GET " + base + "/keys/k?key64=aw==", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=aw", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=a_==", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=aw%0A==", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=ax==", 400, "invalid_argument"}, // bits left over
		{"GET " + base + "/keys/k?x=1", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=aw==&key64=aw==", 400, "invalid_argument"},
		{"GET " + base + "/keys/?key64=aw==;x", 400, "invalid_argument"},
		{"GET " + base + "/keys/k?%zz=1", 400, "invalid_argument"},
		{"GET " + base + "/keys/k\nIf-Match: 17", 400, "invalid_argument"},
		{"GET " + base + "/keys/k\nIf-Match: W/\"17\"", 412, "conflict"}, // weak tags are as good as none there
		{"GET " + base + "/keys/k\nIf-None-Match: W/17", 400, "invalid_argument"},
		{"GET " + base + "/keys/k\nIf-Match: \"\"", 400, "invalid_argument"},
		{"GET " + base + "/keys/k\nIf-Match: \"1\", *", 400, "invalid_argument"},
		{"GET " + base + "/keys/k\nIf-Match: \"1\"", 412, "conflict"},
		{"GET " + base + "/keys/absent\nIf-Match: *", 404, "not_found"},
		{"PATCH " + base + "/keys/k", 405, "method_not_allowed"},
		{"POST " + base + "/keys/k", 400, "invalid_argument"},
		{"POST " + base + "/keys/k?touch=1", 400, "invalid_argument"},
		{"POST " + base + "/keys/absent?touch=true", 404, "not_found"},
		{"PUT " + base + "/keys", 405, "method_not_allowed"},
		{"PUT " + base + "/keys/k?ttl=", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=0", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=30", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=-1s", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=%2B1s", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=1y", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?expires_at=tomorrow", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k?ttl=1s&expires_at=2030-01-01T00:00:00Z", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k\nContent-Encoding: gzip", 415, "unsupported_media_type"},
		{"PUT " + base + "/keys/k\nIf-Unmodified-Since: Fri, 02 Jan 2026 00:00:00 GMT", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k\nIf-Unmodified-Since: ", 400, "invalid_argument"},
		{"DELETE " + base + "/keys/k\nIf-Modified-Since: Fri, 02 Jan 2026 00:00:00 GMT", 400, "invalid_argument"},
		{"PUT " + base + "/keys/k\nContent-Length: 999999999", 413, "size_limit"},
	} {
		a := s.raw(c.request, "")
		if a.status != c.status || c.code != "" && a.code() != c.code {
			t.Errorf("%s: %d %s, want %d %s: %s", c.request, a.status, a.code(), c.status, c.code, a.body)
		}
		if c.code != "" && a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: the error is %s", c.request, a.header.Get("Content-Type"))
		}
		if a.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", c.request)
		}
	}
	s.has("k", "v")
}

func TestItemHeaders(t *testing.T) {
	s := serve(t, nil)
	tag := s.must(s.put("/keys/k", "v"), 204).header.Get("ETag")
	if v, err := strconv.Unquote(tag); err != nil || v == "" {
		t.Fatalf("ETag %s", tag)
	}
	for _, method := range []string{"GET", "HEAD"} {
		a := s.must(s.raw(method+" "+base+"/keys/k", ""), 200)
		for name, want := range map[string]string{"ETag": tag, "Content-Type": "application/octet-stream",
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Length": "1", "Plinth-Expires-At": ""} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
	}
	if a := s.must(s.raw("HEAD "+base+"/keys/none", ""), 404); a.body != "" {
		t.Errorf("HEAD has the body %q", a.body)
	}
	s.must(s.raw("GET "+base+"/keys/k\nIf-None-Match: "+tag, ""), 304)
	s.must(s.raw("GET "+base+"/keys/k\nIf-None-Match: \"1\", "+tag, ""), 304)
	s.must(s.raw("GET "+base+"/keys/k\nIf-None-Match: W/"+tag, ""), 304) // a proxy made it weak
	s.must(s.raw("GET "+base+"/keys/k\nIf-Match: W/"+tag, ""), 412)
	s.must(s.raw("GET "+base+"/keys/k\nIf-None-Match: \"1\"", ""), 200)
	s.must(s.raw("GET "+base+"/keys/k\nIf-Match: "+tag, ""), 200)

	s.must(s.put("/keys/e?ttl=1500us", "v"), 204)
	if got := s.get("/keys/e").header.Get("Plinth-Expires-At"); got != "2026-01-02T03:04:05.002Z" {
		t.Errorf("a TTL of 1.5 ms ends at %s", got)
	}
	if a := s.must(s.put("/keys/empty", ""), 204); a.status == 204 {
		if a := s.must(s.get("/keys/empty"), 200); a.body != "" || a.header.Get("Content-Length") != "0" {
			t.Errorf("an empty value came back as %q", a.body)
		}
	}
}

func TestExpiry(t *testing.T) {
	s := serve(t, nil)
	for query, want := range map[string]string{
		"?ttl=1h": "2026-01-02T04:04:05.000Z", "?ttl=1h30m0.5s": "2026-01-02T04:34:05.500Z",
		"?ttl=8766000h":                                "", // a thousand years is more than a duration holds: never
		"?ttl=99999999999999h":                         "",
		"?expires_at=2030-01-01T00:00:00Z":             "2030-01-01T00:00:00.000Z",
		"?expires_at=2030-01-01T00:00:00.0001%2B02:00": "2029-12-31T22:00:00.001Z",
	} {
		s.must(s.put("/keys/t"+query, "v"), 204)
		if got := s.must(s.get("/keys/t"), 200).header.Get("Plinth-Expires-At"); got != want {
			t.Errorf("%s: expires at %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?ttl=0s", "?expires_at=2020-01-01T00:00:00Z", "?expires_at=0001-01-01T00:00:00Z"} {
		s.must(s.put("/keys/t", "v"), 204)
		s.must(s.put("/keys/t"+query, "v"), 204)
		s.must(s.get("/keys/t"), 404)
	}
	s.must(s.put("/keys/t?ttl=1s", "v"), 204)
	s.must(s.raw("POST "+base+"/keys/t?touch=true&ttl=1h", ""), 204)
	*s.now = s.now.Add(time.Minute)
	s.must(s.get("/keys/t"), 200)
	s.must(s.raw("POST "+base+"/keys/t?touch=true", ""), 204)
	if a := s.must(s.get("/keys/t"), 200); a.header.Get("Plinth-Expires-At") != "" {
		t.Error("touched without an expiry, it still expires")
	}
}

func TestConditions(t *testing.T) {
	s := serve(t, nil)
	put := func(cond, value string) answer { return s.raw("PUT "+base+"/keys/k\n"+cond, value) }
	s.must(put("If-Match: *", "x"), 412)
	s.must(put(`If-Match: "1"`, "x"), 412)
	s.must(put("If-None-Match: *", "a"), 204)
	s.must(put("If-None-Match: *", "x"), 412)
	s.has("k", "a")
	one := s.must(put("If-Match: *", "b"), 204).header.Get("ETag")
	s.must(put("If-None-Match: "+one, "x"), 412)
	s.must(put(`If-None-Match: "1", "2"`, "c"), 204)
	s.must(put("If-Match: "+one, "x"), 412) // it is another version now
	two := s.must(s.get("/keys/k"), 200).header.Get("ETag")
	s.must(put(`If-Match: "1", `+two, "d"), 204)
	s.has("k", "d")
	three := s.get("/keys/k").header.Get("ETag")
	s.must(put("If-Match: "+three+"\nIf-None-Match: "+three, "x"), 412)
	s.must(put("If-Match: "+three+"\nIf-None-Match: \"5\"", "e"), 204)
	s.has("k", "e")
	s.must(put(`If-None-Match: "not-a-version"`, "f"), 204)

	s.must(s.raw("DELETE "+base+"/keys/k\nIf-Match: "+one, ""), 412)
	s.must(s.raw("DELETE "+base+"/keys/none\nIf-Match: *", ""), 412)
	s.must(s.raw("DELETE "+base+"/keys/none", ""), 204)
	s.must(s.raw("DELETE "+base+"/keys/k\nIf-Match: "+s.get("/keys/k").header.Get("ETag"), ""), 204)
	s.lacks("k")
}

// A store whose backend has no versions has no tags; * works all the same.
func TestWithoutVersions(t *testing.T) {
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(noVersions{set.Stores["s"].Backend()}, storage.Settings{})
	})
	if a := s.must(s.raw("PUT "+base+"/keys/k\nIf-None-Match: *", "v"), 204); a.header.Get("ETag") != "" {
		t.Error("an ETag without versions")
	}
	s.must(s.raw("PUT "+base+"/keys/k\nIf-None-Match: *", "x"), 412)
	s.must(s.raw("PUT "+base+"/keys/k\nIf-Match: *", "w"), 204)
	s.must(s.raw("PUT "+base+"/keys/k\nIf-Match: \"1\"", "x"), 501)
	if a := s.must(s.get("/keys/k"), 200); a.header.Get("ETag") != "" || a.body != "w" {
		t.Error("an ETag without versions, or a wrong value", a.body)
	}
	s.must(s.raw("GET "+base+"/keys/k\nIf-None-Match: \"1\"", ""), 501)
}

// noVersions hides the versions of a backend.
type noVersions struct{ storage.Backend }

func (b noVersions) Info() storage.Info {
	i := b.Backend.Info()
	i.Caps &^= storage.CapVersions | storage.CapRangeCheck | storage.CapSnapshotScan
	return i
}

func (b noVersions) Get(ctx context.Context, key []byte) (storage.Item, error) {
	it, err := b.Backend.Get(ctx, key)
	it.Version = 0
	return it, err
}

func (b noVersions) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	_, err := b.Backend.Apply(ctx, w)
	return 0, err
}

// A body that ends early is never applied, and one that is too large is refused
// before it is sent.
func TestBodies(t *testing.T) {
	s := serve(t, nil)
	s.must(s.put("/keys/k", "old"), 204)
	if a := s.raw("PUT "+base+"/keys/k\nContent-Length: 100\nX: half", "half"); a.status != 0 && a.status != 400 {
		t.Errorf("a cut body: %d", a.status)
	}
	s.has("k", "old")
	a := s.raw("PUT "+base+"/keys/k\nContent-Length: 67108864\nExpect: 100-continue", "")
	if a.status != 413 || a.code() != "size_limit" || !strings.Contains(a.body, `"max":8388608,"actual":67108864`) {
		t.Errorf("64 MiB: %d %s", a.status, a.body)
	}
	s.has("k", "old")
	s.must(s.put("/keys/big", strings.Repeat("x", 8<<20)), 204)
	s.must(s.put("/keys/big", strings.Repeat("x", 8<<20+1)), 413)
}

// The limit of bodies is for values, and for what is asked as JSON.
func TestBodyBytes(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.BodyBytes = 32 })
	s.must(s.put("/keys/k", strings.Repeat("x", 32)), 204)
	s.must(s.put("/keys/k", strings.Repeat("x", 33)), 413)
	s.must(s.json("/get", `{"keys":["k"]}`+strings.Repeat(" ", 18)), 200)
	s.must(s.json("/get", `{"keys":["k"]}`+strings.Repeat(" ", 19)), 413)
}

// A body has to be sent in time, and each part of it sooner: else its caller is cut off.
func TestSlowBodies(t *testing.T) {
	for name, edit := range map[string]func(*server.Config, *server.Settings){
		"the whole": func(c *server.Config, _ *server.Settings) { c.BodyTimeout = 50 * time.Millisecond },
		"a part":    func(c *server.Config, _ *server.Settings) { c.PartTimeout = 50 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, edit)
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second)) // less than what else is in force
			fmt.Fprintf(conn, "PUT %s/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf", base)
			if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
				t.Errorf("half a body: %q, %v; want the end of the connection", b, err)
			}
		})
	}
}

// A condition that is not looked at would be taken for one that holds, and a part
// of a value for the whole: both are refused, and nothing is written.
func TestWhatWouldBeIgnored(t *testing.T) {
	s := serve(t, nil)
	s.must(s.put("/keys/k", "v"), 204)
	for _, request := range []string{
		"POST " + base + "/keys/k?touch=true&ttl=0s\nIf-Match: \"1\"",
		"POST " + base + "/keys/k?touch=true&ttl=0s\nIf-None-Match: *",
		"POST " + base + "/keys/k?touch=true&ttl=0s\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
		"DELETE " + base + "/keys?all=true\nIf-Match: *",
		"POST " + base + "/apply\nContent-Type: application/json\nIf-Match: \"1\"",
		"PUT " + base + "/keys/k\nContent-Range: bytes 0-1/2",
	} {
		body := ""
		switch {
		case strings.HasPrefix(request, "PUT"):
			body = "xy"
		case strings.Contains(request, "/apply"):
			body = `{"ops":[{"op":"delete","key":"k"}]}`
		}
		if a := s.raw(request, body); a.status != 400 || a.code() != "invalid_argument" {
			t.Errorf("%s: %d %s", request, a.status, a.body)
		}
		s.has("k", "v")
	}
}
