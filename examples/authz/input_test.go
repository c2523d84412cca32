package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Whatever a caller sends, the answer is a clear status, soon, and nothing is stored.
func TestBadInput(t *testing.T) {
	huge := strings.Repeat("x", 1<<20)
	ok := tuple{"doc:a", "viewer", "user:a"}
	many := make([]tuple, 501)
	for i := range many {
		many[i] = tuple{fmt.Sprintf("doc:%d", i), "viewer", "user:a"}
	}
	type request struct {
		name, method, path string // below the vault; a path with a slash first is whole
		body               any
		status             int
	}
	requests := []request{
		{"no JSON", http.MethodPost, "check", "doc:a", http.StatusBadRequest},
		{"empty", http.MethodPost, "check", "", http.StatusBadRequest},
		{"null", http.MethodPost, "check", "null", http.StatusBadRequest},
		{"a list", http.MethodPost, "check", "[]", http.StatusBadRequest},
		{"two objects", http.MethodPost, "check", `{"object":"doc:a","relation":"viewer","subject":"user:a"} {}`, http.StatusBadRequest},
		{"a name twice", http.MethodPost, "check", `{"object":"doc:b","object":"doc:a","relation":"viewer","subject":"user:a"}`, http.StatusBadRequest},
		{"an unknown name", http.MethodPost, "check", `{"object":"doc:a","relation":"viewer","subject":"user:a","admin":true}`, http.StatusBadRequest},
		{"a name in capitals", http.MethodPost, "check", `{"Object":"doc:a","relation":"viewer","subject":"user:a"}`, http.StatusBadRequest},
		{"a number", http.MethodPost, "check", `{"object":7,"relation":"viewer","subject":"user:a"}`, http.StatusBadRequest},
		{"no UTF-8", http.MethodPost, "check", "{\"object\":\"doc:\xff\",\"relation\":\"viewer\",\"subject\":\"user:a\"}", http.StatusBadRequest},
		{"deep", http.MethodPost, "check", strings.Repeat("[", 100_000), http.StatusBadRequest},
		{"a megabyte", http.MethodPost, "check", tuple{"doc:" + huge, "viewer", "user:a"}, http.StatusRequestEntityTooLarge},
		{"501 changes", http.MethodPost, "relationships", change{Write: many}, http.StatusRequestEntityTooLarge},
		{"no change", http.MethodPost, "relationships", change{}, http.StatusBadRequest},
		{"write and delete", http.MethodPost, "relationships", change{Write: []tuple{ok}, Delete: []tuple{ok}}, http.StatusBadRequest},
		{"one bad among good", http.MethodPost, "relationships", change{Write: []tuple{ok, {"doc", "viewer", "user:a"}}}, http.StatusBadRequest},
		{"page of 0", http.MethodGet, "relationships?limit=0", nil, http.StatusBadRequest},
		{"page of 101", http.MethodGet, "relationships?limit=101", nil, http.StatusBadRequest},
		{"page of words", http.MethodGet, "relationships?limit=all", nil, http.StatusBadRequest},
		{"a made up cursor", http.MethodGet, "relationships?after=!", nil, http.StatusBadRequest},
		{"two filters", http.MethodGet, "relationships?object=doc:a&subject=user:a", nil, http.StatusBadRequest},
		{"a relation alone", http.MethodGet, "relationships?relation=viewer", nil, http.StatusBadRequest},
		{"a long query", http.MethodGet, "relationships?after=" + strings.Repeat("x", 5000), nil, http.StatusRequestURITooLong},
		{"no slug", http.MethodPost, "/engine/v1/vaults/main/check", ok, http.StatusBadRequest},
		{"slug 0", http.MethodPost, "/engine/v1/vaults/0/check", ok, http.StatusNotFound},
		{"a slug of 65 bits", http.MethodPost, "/engine/v1/vaults/18446744073709551616/check", ok, http.StatusBadRequest},
		{"a slug with a way out", http.MethodPost, "/engine/v1/vaults/..%2f7/check", ok, http.StatusBadRequest},
		{"no such vault", http.MethodPost, "/engine/v1/vaults/7/check", ok, http.StatusNotFound},
		{"no such vault to write", http.MethodPost, "/engine/v1/vaults/7/relationships", change{Write: []tuple{ok}}, http.StatusNotFound},
		{"no such vault to list", http.MethodGet, "/engine/v1/vaults/7/relationships", nil, http.StatusNotFound},
		{"no such vault to clean", http.MethodDelete, "/engine/v1/vaults/7/subjects/user:a", nil, http.StatusNotFound},
		{"a bad subject to clean", http.MethodDelete, "subjects/user", nil, http.StatusBadRequest},
	}
	for _, bad := range []string{"", ":", "doc", "doc:", ":a", "Doc:a", "1doc:a", "doc:a:b", "doc:a/b", "doc:a#", "doc:a#b#c", "doc:a b", "doc:a\x00b", "doc:ä",
		"doc:a\nb", strings.Repeat("d", 33) + ":a", "doc:" + strings.Repeat("x", 129), "../doc:a", "doc:*"} {
		requests = append(requests,
			request{"object " + bad, http.MethodPost, "check", tuple{bad, "viewer", "user:a"}, http.StatusBadRequest},
			request{"subject " + bad, http.MethodPost, "relationships", change{Write: []tuple{{"doc:a", "viewer", bad}}}, http.StatusBadRequest},
			request{"filter " + bad, http.MethodGet, "relationships?subject=x" + url.QueryEscape(bad+"/"), nil, http.StatusBadRequest})
	}
	for _, bad := range []string{"", "Viewer", "view er", "view/er", "view\x00", strings.Repeat("v", 33), "1", "vi#w"} {
		requests = append(requests, request{"relation " + bad, http.MethodPost, "check", tuple{"doc:a", bad, "user:a"}, http.StatusBadRequest})
	}
	onEach(t, func(t *testing.T, kind string) {
		x := start(t, kind, options{}).tenant("acme")
		for _, r := range requests {
			begun := time.Now()
			path := x.vault + "/" + r.path
			if strings.HasPrefix(r.path, "/") {
				path = r.path
			}
			a := x.engine.do(r.method, path, r.body)
			if a.status != r.status || a.text("code") == "" || len(a.text("detail")) > 400 {
				t.Errorf("%.60q: %d %v, want %d", r.name, a.status, a.body, r.status)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("%.60q took %s", r.name, took)
			}
		}
		if a := x.engine.do(http.MethodGet, x.vault+"/relationships", nil); len(a.body["relationships"].([]any)) != 0 {
			t.Errorf("something was stored: %v", a.body)
		}
	})
}

// Names in the Control API, and keys.
func TestBadNames(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x := w.tenant("acme")
		for _, bad := range []string{"", "Acme", "ac/me", "ac me", "-acme", "acme\x00", "äcme", strings.Repeat("a", 65), strings.Repeat("a", 200_000)} {
			for _, a := range []answer{
				w.operator.do(http.MethodPost, "/control/v1/organizations", map[string]string{"name": bad}),
				x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": bad}),
			} {
				if a.status != http.StatusBadRequest || len(a.text("detail")) > 400 {
					t.Errorf("%.20q: %d %v", bad, a.status, a.body)
				}
			}
		}
		good := text(w.newClient(x.admin.org, "engine", "").public())
		zero := strings.Repeat("A", 43) // a point of small order
		for _, c := range []struct {
			kid, key string
			status   int
		}{
			{"", good, http.StatusBadRequest}, {"a/b", good, http.StatusBadRequest}, {"a\x00", good, http.StatusBadRequest},
			{strings.Repeat("k", 1025), good, http.StatusBadRequest},
			{"k", "", http.StatusBadRequest}, {"k", good + "A", http.StatusBadRequest}, {"k", good[:42], http.StatusBadRequest}, {"k", good + "=", http.StatusBadRequest},
			{"k", zero, http.StatusBadRequest}, {"k", strings.Repeat("x", 100_000), http.StatusBadRequest},
			{"k", good, http.StatusCreated}, {"k", good, http.StatusConflict},
		} {
			a := x.admin.do(http.MethodPost, x.org+"/keys/engine", map[string]string{"kid": c.kid, "public_key": c.key})
			if a.status != c.status {
				t.Errorf("%.20q %.50q: %d %v, want %d", c.kid, c.key, a.status, a.body, c.status)
			}
		}
	})
}

// Lists come in pages, and have all that there is, once.
func TestLists(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x := w.tenant("acme")
		for i := range 12 {
			w.operator.do(http.MethodPost, "/control/v1/organizations", map[string]string{"name": fmt.Sprint("more-", i)}).must(t, http.StatusCreated)
			x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": fmt.Sprint("more-", i)}).must(t, http.StatusCreated)
			x.change(change{Write: []tuple{{fmt.Sprint("doc:", i), "viewer", "user:ada"}, {"doc:one", "viewer", fmt.Sprint("user:u", i)}, {"doc:one", "editor", fmt.Sprint("group:g", i, "#member")}}}).must(t, http.StatusOK)
		}
		for _, c := range []struct {
			by         client
			path, list string
			want       int
		}{
			{w.operator, "/control/v1/organizations?", "organizations", 13},
			{x.admin, x.org + "/vaults?", "vaults", 13},
			{x.engine, x.vault + "/relationships?", "relationships", 36},
			{x.engine, x.vault + "/relationships?subject=user:ada&", "relationships", 12},
			{x.engine, x.vault + "/relationships?subject=user:u1&", "relationships", 1},
			{x.engine, x.vault + "/relationships?subject=group:g1%23member&", "relationships", 1},
			{x.engine, x.vault + "/relationships?subject=group:g1&", "relationships", 0},
			{x.engine, x.vault + "/relationships?object=doc:one&", "relationships", 24},
			{x.engine, x.vault + "/relationships?object=doc:one&relation=editor&", "relationships", 12},
			{x.engine, x.vault + "/relationships?object=doc:on&", "relationships", 0},
		} {
			for _, limit := range []int{1, 5, 12, 13, 100} {
				seen, after := map[string]bool{}, ""
				for pages := 0; ; pages++ {
					a := c.by.do(http.MethodGet, fmt.Sprintf("%slimit=%d&after=%s", c.path, limit, url.QueryEscape(after)), nil).must(t, http.StatusOK)
					list := a.body[c.list].([]any)
					for _, one := range list {
						if name := fmt.Sprint(one); seen[name] {
							t.Errorf("%s: %s twice", c.path, name)
						} else {
							seen[name] = true
						}
					}
					if after = a.text("next"); after == "" {
						break
					}
					if len(list) != limit || pages > 100 {
						t.Fatalf("%s: page %d has %d entries, and goes on", c.path, pages, len(list))
					}
				}
				if len(seen) != c.want {
					t.Errorf("%s by %d: %d, want %d", c.path, limit, len(seen), c.want)
				}
			}
		}
	})
}

// Changes of records name the version that they are about, and conditions of changes hold or
// nothing happens.
func TestConditions(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x := w.tenant("acme")
		w.tenant("other")
		vault := x.org + "/vaults/" + strings.TrimPrefix(x.vault, "/engine/v1/vaults/")
		for _, c := range []struct {
			path string
			by   client
			body map[string]string
		}{
			{x.org, w.operator, map[string]string{"name": "new", "state": "active"}},
			{vault, x.admin, map[string]string{"name": "new"}},
		} {
			etag := c.by.do(http.MethodGet, c.path, nil).header.Get("ETag")
			c.by.do(http.MethodPut, c.path, c.body).must(t, http.StatusPreconditionRequired)
			for _, bad := range []string{"*", "7", `"x"`, `W/` + etag, etag + `, "7"`, `"0"`, `"` + strings.Repeat("9", 30) + `"`} {
				c.by.do(http.MethodPut, c.path, c.body, "If-Match", bad).must(t, http.StatusBadRequest)
			}
			next := c.by.do(http.MethodPut, c.path, c.body, "If-Match", etag).must(t, http.StatusOK).header.Get("ETag")
			c.by.do(http.MethodPut, c.path, c.body, "If-Match", etag).must(t, http.StatusPreconditionFailed)
			c.by.do(http.MethodDelete, c.path, nil).must(t, http.StatusPreconditionRequired)
			c.by.do(http.MethodDelete, c.path, nil, "If-Match", etag).must(t, http.StatusPreconditionFailed)
			if now := c.by.do(http.MethodGet, c.path, nil).must(t, http.StatusOK); now.header.Get("ETag") != next || now.text("name") != "new" {
				t.Errorf("%s: %v %v, want %s", c.path, now.header, now.body, next)
			}
		}
		etag := w.operator.do(http.MethodGet, x.org, nil).header.Get("ETag")
		w.operator.do(http.MethodPut, x.org, map[string]string{"name": "other", "state": "active"}, "If-Match", etag).must(t, http.StatusConflict)
		w.operator.do(http.MethodPut, x.org, map[string]string{"name": "new", "state": "gone"}, "If-Match", etag).must(t, http.StatusBadRequest)
		w.operator.do(http.MethodDelete, x.org, nil, "If-Match", etag).must(t, http.StatusConflict) // it has a vault

		there, absent := tuple{"doc:a", "viewer", "user:a"}, tuple{"doc:a", "viewer", "user:b"}
		x.change(change{Write: []tuple{there}}).must(t, http.StatusOK)
		for _, c := range []struct {
			present, absent []tuple
			status          int
		}{
			{[]tuple{there}, []tuple{absent}, http.StatusOK}, // which writes it
			{[]tuple{there}, []tuple{absent}, http.StatusPreconditionFailed},
			{[]tuple{{"doc:none", "viewer", "user:a"}}, nil, http.StatusPreconditionFailed},
			{[]tuple{there, absent}, nil, http.StatusOK},
		} {
			x.change(change{Write: []tuple{absent}, If: &conditions{c.present, c.absent}}).must(t, c.status)
		}
	})
}
