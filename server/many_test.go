package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

func (s *served) fill(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if err := s.store.Set(context.Background(), []byte(k), []byte("v-"+k)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// keysOf are the keys of NDJSON lines, base64 ones with a mark.
func keysOf(t *testing.T, body string) string {
	t.Helper()
	var keys []string
	for line := range strings.Lines(body) {
		_, rest, ok := strings.Cut(line, `{"key":"`)
		if !ok {
			_, rest, _ = strings.Cut(line, `{"key64":"`)
			rest = "64:" + rest
		}
		key, _, _ := strings.Cut(rest, `"`)
		keys = append(keys, key)
	}
	return strings.Join(keys, " ")
}

func TestScan(t *testing.T) {
	s := serve(t, nil)
	s.fill("a", "a/1", "a/2", "b", "b\x00", "c", "\xff\xfe")
	for _, c := range []struct{ query, keys string }{
		{"", `a a/1 a/2 b b\u0000 c 64://4=`},
		{"?prefix=a/", "a/1 a/2"},
		{"?prefix=", `a a/1 a/2 b b\u0000 c 64://4=`},
		{"?prefix64=/w%3D%3D", "64://4="},
		{"?start=b", `b b\u0000 c 64://4=`},
		{"?end=b", "a a/1 a/2"},
		{"?end=", ""},
		{"?start=c&end=a", ""},
		{"?start=b&end=b", ""},
		{"?start=b&end=b%00", "b"},
		{"?prefix=a&start=a/2", "a/2"},
		{"?prefix=a&end=a/2", "a a/1"},
		{"?prefix=a&start=b", ""},
		{"?limit=2", "a a/1"},
		{"?reverse=true&limit=2", `64://4= c`},
		{"?reverse=true&prefix=a/", "a/2 a/1"},
		{"?reverse=false&limit=1", "a"},
	} {
		a := s.must(s.get("/keys"+c.query), 200)
		if got := keysOf(t, a.body); got != c.keys {
			t.Errorf("%s: %s, want %s", c.query, got, c.keys)
		}
		if got := a.header.Get("Content-Type"); got != "application/x-ndjson" {
			t.Errorf("Content-Type %s", got)
		}
	}
	a := s.must(s.get("/keys?keys_only=true&limit=1"), 200)
	if strings.Contains(a.body, "value") || !strings.Contains(a.body, `"version":"`) {
		t.Errorf("keys only: %s", a.body)
	}
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=x", "?reverse=1", "?prefx=a", "?prefix=a&prefix64=YQ==",
		"?prefix=a;end=b", "?prefix=%zz", "?prefix=a&prefix=b", "?end64=x", "?keys_only=", "?snapshot=1"} {
		if a := s.get("/keys" + query); a.status != 400 || a.code() != "invalid_argument" {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// A scan over many pages is whole, in order, and escaped as JSON must be.
func TestScanOfManyPages(t *testing.T) {
	s := serve(t, nil)
	const n = 5000
	w := &storage.WriteSet{}
	for i := range n {
		w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "k%06d", i), []byte("\"<&>\\\n\x01é")))
	}
	if _, err := s.store.Apply(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	a := s.must(s.get("/keys"), 200)
	if lines := strings.Count(a.body, "\n"); lines != n {
		t.Fatalf("%d lines, want %d", lines, n)
	}
	first, _, _ := strings.Cut(a.body, `,"version"`)
	if want := `{"key":"k000000","value":"\"<&>\\\n\u0001é"`; first != want {
		t.Errorf("%s, want %s", first, want)
	}
}

// A scan that fails midway cuts the connection.
func TestScanThatFails(t *testing.T) {
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&failsLater{Backend: set.Stores["s"].Backend(), after: 2}, storage.Settings{})
	})
	for i := range 3000 {
		s.fill(fmt.Sprintf("key-%0100d", i))
	}
	a := s.get("/keys")
	if a.status != 200 || !a.cut {
		t.Errorf("status %d, cut %v: a reader would take this for the whole", a.status, a.cut)
	}
	if a := s.get("/keys?limit=1"); a.status != 503 || a.code() != "unavailable" {
		t.Errorf("a failure before the first line: %d %s", a.status, a.body)
	}
}

type failsLater struct {
	storage.Backend
	after int
}

func (f *failsLater) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if f.after--; f.after < 0 {
		return storage.Page{}, storage.ErrUnavailable
	}
	return f.Backend.Scan(ctx, q)
}

// A snapshot is one state, whatever is written while it is read.
func TestScanOfASnapshot(t *testing.T) {
	var between *writesBetween
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		between = &writesBetween{Backend: set.Stores["s"].Backend()}
		set.Stores["s"] = storage.New(between, storage.Settings{})
	})
	for i := range 3000 {
		s.fill(fmt.Sprintf("key-%0200d", i))
	}
	a := s.must(s.get("/keys?snapshot=true"), 200)
	if lines := strings.Count(a.body, "\n"); a.cut || lines != 3000 || between.pages < 2 || strings.Contains(a.body, "later") {
		t.Errorf("%d lines of %d pages, cut %v, later writes %v", lines, between.pages, a.cut, strings.Contains(a.body, "later"))
	}
	if a := s.must(s.get("/keys"), 200); !strings.Contains(a.body, "later") {
		t.Error("without it the writes between pages are not seen: the test says nothing")
	}
	between.caps = ^storage.CapSnapshotScan
	if a := s.get("/keys?snapshot=true"); a.status != 501 || a.code() != "unsupported" {
		t.Errorf("a store that has none: %d %s", a.status, a.body)
	}
}

// A state can be read again by its version, from wherever a scan was cut.
func TestScanAtVersion(t *testing.T) {
	s := serve(t, nil)
	s.fill("a", "b", "c")
	version := s.must(s.get("/keys?snapshot=true&limit=1"), 200).header.Get("Plinth-Version")
	s.fill("d")
	a := s.must(s.get("/keys?start=b&at_version="+version), 200)
	if strings.Count(a.body, "\n") != 2 || strings.Contains(a.body, `"d"`) || a.header.Get("Plinth-Version") != version {
		t.Errorf("version %q: %s", version, a.body)
	}
	if now := s.must(s.get("/keys?start=b"), 200); strings.Count(now.body, "\n") != 3 || now.header.Get("Plinth-Version") != "" {
		t.Errorf("the present: %s", now.body)
	}
	for _, bad := range []string{"0", "-1", "x", ""} {
		if a := s.get("/keys?at_version=" + bad); a.status != 400 || !strings.Contains(a.body, "at_version") {
			t.Errorf("%q: %d %s", bad, a.status, a.body)
		}
	}
	if a := s.get("/keys?at_version=1"); a.status != 412 {
		t.Errorf("a version that is not kept: %d %s", a.status, a.body)
	}
}

// writesBetween adds a key at the end after each page.
type writesBetween struct {
	storage.Backend
	pages int
	caps  storage.Caps // if not zero, all others go
}

func (w *writesBetween) Info() storage.Info {
	i := w.Backend.Info()
	if w.caps != 0 {
		i.Caps &= w.caps
	}
	return i
}

func (w *writesBetween) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	p, err := w.Backend.Scan(ctx, q)
	w.pages++
	if err == nil {
		_, err = w.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "z-later-%d", w.pages), nil)}})
	}
	return p, err
}

func TestInfo(t *testing.T) {
	s := serve(t, nil)
	a := s.must(s.get(""), 200)
	var got struct {
		Backend      string
		Capabilities []string
		Limits       map[string]int64
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	info := s.store.Info()
	if got.Backend != info.Name || strings.Join(got.Capabilities, ",") != info.Caps.String() || got.Limits["key"] != int64(info.Limits.Key) ||
		got.Limits["write_bytes"] != int64(info.Limits.WriteBytes) || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s; want %+v", a.body, info)
	}
	s.must(s.get("?x=1"), 400)
	s.must(s.get("/"), 404)
	s.must(s.raw("DELETE "+base, ""), 405)
}

func TestClear(t *testing.T) {
	s := serve(t, nil)
	s.fill("a", "b/1", "b/2", "c")
	del := func(query string) answer { return s.raw("DELETE "+base+"/keys"+query, "") }
	for _, query := range []string{"", "?prefix=", "?start=", "?prefix=&start=", "?all=false", "?all=true&prefix=a", "?all=1",
		"?limit=1", "?prefix=b;x", "?prefix=%zz", "?prefixx=b"} {
		if a := del(query); a.status != 400 {
			t.Errorf("%q: %d", query, a.status)
		}
	}
	if got := keysOf(t, s.get("/keys").body); got != "a b/1 b/2 c" {
		t.Fatalf("a refused clear removed something: %s", got)
	}
	s.must(del("?prefix=b/"), 204)
	s.must(del("?end="), 204)
	if got := keysOf(t, s.get("/keys").body); got != "a c" {
		t.Fatal(got)
	}
	s.must(del("?start=b"), 204)
	s.must(del("?all=true"), 204)
	if a := s.must(s.get("/keys"), 200); a.body != "" {
		t.Fatal(a.body)
	}
}

func TestGetMany(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.MaxKeys = 4 })
	s.fill("a", "b", "\xff")
	a := s.must(s.json("/get", `{"keys":["b","none",{"key64":"/w=="},"b"]}`), 200)
	if got := keysOf(t, a.body); got != "b 64:/w== b" {
		t.Error(got)
	}
	if a := s.must(s.json("/get", `{"keys":[]}`), 200); a.body != "" {
		t.Error(a.body)
	}
	if a := s.must(s.json("/get", `{"keys":["1","2","3","4","5"]}`), 413); !strings.Contains(a.body, `"limit":{"kind":"keys","max":4,"actual":5}`) {
		t.Error(a.body)
	}
	for _, body := range []string{`{}`, `{"keys":null}`, `{"keys":[1]}`, `{"keys":[null]}`, `{"keys":[{}]}`, `{"keys":["a"],"x":1}`} {
		s.must(s.json("/get", body), 400)
	}
}

func TestApply(t *testing.T) {
	s := serve(t, nil)
	version := func(a answer) string {
		_, rest, _ := strings.Cut(a.body, `{"version":"`)
		v, _, _ := strings.Cut(rest, `"`)
		return v
	}
	s.fill("a")
	now := version(s.must(s.json("/apply", `{}`), 200))
	if again := version(s.must(s.json("/apply", `{"ops":[]}`), 200)); again != now || now == "" {
		t.Errorf("an empty write set changed the version from %q to %q", now, again)
	}
	one := version(s.must(s.json("/apply", `{"checks":[{"key":"b","is":"absent"},{"key":"a","is":"present"},{"key":"a","value":"v-a"}],
		"ops":[{"op":"put","key":"b","value":"1","ttl":"1h"},{"op":"put","key64":"/w==","value64":"AAE="},{"op":"delete","key":"a"}]}`), 200))
	s.has("b", "1")
	s.has("\xff", "\x00\x01")
	s.lacks("a")
	if a := s.json("/apply", `{"checks":[{"key":"b","is":"present"},{"key":"b","version":"1"}],"ops":[{"op":"delete","key":"b"}]}`); a.status != 412 || !strings.Contains(a.body, `"check":1`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.must(s.json("/apply", `{"checks":[{"key":"b","version":`+one+`}],"ops":[{"op":"put","key":"b","value":""}]}`), 200)
	s.must(s.json("/apply", `{"checks":[{"start":"b","end":"c","not_newer_than":"`+one+`"}]}`), 412)
	s.must(s.json("/apply", `{"ops":[{"op":"delete_range","start":"b","end":"b"}]}`), 200)
	s.has("b", "")
	s.must(s.json("/apply", `{"ops":[{"op":"delete_range","start":"b"},{"op":"put","key":"z","value":"z"},{"op":"put","key":"z","value":"zz"}]}`), 200)
	s.has("z", "zz")
	s.lacks("b")
	s.must(s.json("/apply", `{"ops":[{"op":"delete_range","all":true}]}`), 200)
	s.lacks("z")

	id := `"id":"AAECAwQFBgcICQoLDA0ODw==",`
	first := version(s.must(s.json("/apply", `{`+id+`"checks":[{"key":"i","is":"absent"}],"ops":[{"op":"put","key":"i","value":"1"}]}`), 200))
	if again := version(s.must(s.json("/apply", `{`+id+`"checks":[{"key":"i","is":"absent"}],"ops":[{"op":"put","key":"i","value":"1"}]}`), 200)); again != first {
		t.Errorf("the repeat answered %s, the first %s", again, first)
	}
	s.must(s.json("/apply", `{`+id+`"ops":[{"op":"put","key":"i","value":"2"}]}`), 400)
}

func TestBadJSON(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.MaxOps = 3 })
	s.fill("a")
	for _, body := range []string{
		``, ` `, `null`, `[]`, `"x"`, `1`, `{`, `{}{}`, `{} x`, `{"ops":null}`, `{"ops":{}}`, `{"ops":[null]}`, `{"ops":["x"]}`,
		`{"x":1}`, `{"ops":[],"ops":[]}`, `{"Ops":[]}`, `{"checks":null}`,
		`{"ops":[{"op":"put","key":"k"}]}`, `{"ops":[{"op":"put","value":"v"}]}`, `{"ops":[{"key":"k","value":"v"}]}`,
		`{"ops":[{"op":"put","key":"k","key64":"aw==","value":"v"}]}`, `{"ops":[{"op":"put","key":"k","key":"k","value":"v"}]}`,
		`{"ops":[{"op":"put","key":"k","value":1}]}`, `{"ops":[{"op":"put","key":"k","value":null}]}`,
		`{"ops":[{"op":"put","key":"k","value64":"x"}]}`, `{"ops":[{"op":"put","key":"k","value":"v","ttl":"5"}]}`,
		`{"ops":[{"op":"put","key":"k","value":"v","ttl":5}]}`, `{"ops":[{"op":"put","key":"k","value":"v","ttl":"-1s"}]}`,
		`{"ops":[{"op":"put","key":"k","value":"v","ttl":"1s","expires_at":"2030-01-01T00:00:00Z"}]}`,
		`{"ops":[{"op":"delete","key":"k","value":"v"}]}`, `{"ops":[{"op":"delete"}]}`, `{"ops":[{"op":"move","key":"k"}]}`,
		`{"ops":[{"op":"delete_range"}]}`, `{"ops":[{"op":"delete_range","all":false}]}`, `{"ops":[{"op":"delete_range","all":1}]}`,
		`{"ops":[{"op":"delete_range","start":"a","all":true}]}`,
		`{"checks":[{"key":"a"}]}`, `{"checks":[{"is":"absent"}]}`, `{"checks":[{"key":"a","is":"gone"}]}`,
		`{"checks":[{"key":"a","is":"absent","value":"v"}]}`, `{"checks":[{"key":"a","version":""}]}`, `{"checks":[{"key":"a","version":-1}]}`,
		`{"checks":[{"key":"a","version":1.5}]}`, `{"checks":[{"key":"a","version":"0"}]}`, `{"checks":[{"key":"a","version":null}]}`,
		`{"checks":[{"start":"a"}]}`, `{"checks":[{"start":"a","not_newer_than":"x"}]}`,
		`{"id":"AAEC","ops":[]}`, `{"id":"AAAAAAAAAAAAAAAAAAAAAA==","ops":[]}`, `{"id":7}`,
		"{\"ops\":[{\"op\":\"put\",\"key\":\"\xff\",\"value\":\"v\"}]}", `{"ops":[{"op":"put","key":"\ud800","value":"v"}]}`,
		`{"ops":[{"op":"put","key":"\udc00\ud800","value":"v"}]}`,
		`{"ops":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		if a := s.json("/apply", body); a.status != 400 || a.code() != "invalid_argument" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := s.json("/apply", `{"ops":[{"op":"put","key":"\ud83d\ude00","value":"v"}]}`); a.status != 200 {
		t.Errorf("a whole surrogate pair: %d %s", a.status, a.body)
	}
	four := `{"ops":[` + strings.Repeat(`{"op":"delete","key":"a"},`, 3) + `{"op":"delete","key":"a"}]}`
	if a := s.json("/apply", four); a.status != 413 || !strings.Contains(a.body, `"limit":{"kind":"ops","max":3,"actual":4}`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Far too many are refused before they are all there as values.
	for _, body := range []string{`{"ops":[` + strings.Repeat("{},", 1000) + `{}]}`, `{"ops":[[` + strings.Repeat("0,", 1000) + `0]]}`} {
		if a := s.json("/apply", body); a.status != 413 || !strings.Contains(a.body, `"limit":{"kind":"JSON values","max":88,"actual":89}`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"} {
		a := s.raw("POST "+base+"/apply\nContent-Type: "+kind, `{}`)
		if a.status != 415 {
			t.Errorf("Content-Type %q: %d", kind, a.status)
		}
	}
	s.must(s.raw("POST "+base+"/apply\nContent-Type: application/json; charset=UTF-8", `{}`), 200)
	s.must(s.raw("GET "+base+"/apply", ""), 405)
	s.must(s.raw("POST "+base+"/apply?x=1\nContent-Type: application/json", `{}`), 400)
	s.has("a", "v-a")
}

// A value is encoded piece by piece, and its line is as if it were not.
func TestLargeLines(t *testing.T) {
	s := serve(t, nil)
	for name, value := range map[string]string{
		"text":    strings.Repeat("é\"\\\n\x01😀x", 50_000),
		"bytes":   strings.Repeat("\xff\x00\x80a", 70_001),
		"at once": strings.Repeat("é", 24<<10) + "x",
	} {
		if err := s.store.Set(context.Background(), []byte("k"), []byte(value)); err != nil {
			t.Fatal(err)
		}
		var line struct {
			Value   string
			Value64 []byte
		}
		a := s.must(s.get("/keys"), 200)
		if err := json.Unmarshal([]byte(a.body), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := line.Value + string(line.Value64); got != value {
			t.Errorf("%s: %d bytes came back of %d, or others", name, len(got), len(value))
		}
	}
}
