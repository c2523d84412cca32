package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/plinthkv/plinth/examples/authz/engine"
	"github.com/plinthkv/plinth/examples/authz/token"
)

// Each organization has tokens of its own. A request that only claims to come
// from one uses none of them.
func TestRateLimit(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{set: map[string]string{"stores.authz.pipeline.rate_limit.rate": "0.01", "stores.authz.pipeline.rate_limit.burst": "200"}})
		loud, quiet := w.tenant("loud"), w.tenant("quiet")
		for n := 0; ; n++ {
			a := loud.check("doc:a", "viewer", "user:a")
			if a.status == http.StatusTooManyRequests {
				if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || a.text("code") != "rate_limited" {
					t.Errorf("%v %v", a.header, a.body)
				}
				break
			}
			if a.must(t, http.StatusOK); n > 200 {
				t.Fatal("no request was refused")
			}
		}
		quiet.check("doc:a", "viewer", "user:a").must(t, http.StatusOK)
		for i := range 300 {
			c := w.newClient(quiet.engine.org, token.Engine, fmt.Sprint("claims-", i))
			c.do(http.MethodPost, quiet.vault+"/check", tuple{"doc:a", "viewer", "user:a"}).must(t, http.StatusUnauthorized)
		}
		quiet.check("doc:a", "viewer", "user:a").must(t, http.StatusOK)
		// It can still be managed what keys it has: that is past the limit.
		w.operator.do(http.MethodGet, quiet.org+"/keys/engine", nil).must(t, http.StatusOK)
	})
}

// Requests beyond those that may be under way are refused at once.
func TestTooManyAtOnce(t *testing.T) {
	held, let := make(chan struct{}), make(chan struct{})
	w := start(t, "memory", options{flying: 2})
	w.router.Handle("GET /held", func(http.ResponseWriter, *http.Request) (any, error) {
		held <- struct{}{}
		<-let
		return nil, nil
	})
	done := make(chan answer, 3)
	ask := func() { go func() { done <- w.send(http.MethodGet, "/held", nil) }() }
	for range 2 {
		ask()
		<-held
	}
	ask()
	select {
	case a := <-done:
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %v", a.status, a.header)
		}
	case <-held:
		t.Error("a third request is under way")
	}
	close(let)
	for range 2 {
		if a := <-done; a.status != http.StatusNoContent {
			t.Errorf("%d", a.status)
		}
	}
}

// What was acknowledged is there after a restart, under the same version, and the operator is
// the same.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var x tenant
	var etag string
	key := client{}
	t.Run("before", func(t *testing.T) {
		w := start(t, "pebble", options{dir: dir})
		x, key = w.tenant("acme"), w.operator
		x.change(change{Write: []tuple{{"doc:a", "viewer", "user:a"}}}).must(t, http.StatusOK)
		etag = w.operator.do(http.MethodGet, x.org, nil).header.Get("ETag")
	})
	t.Run("after", func(t *testing.T) {
		w := start(t, "pebble", options{dir: dir, operator: &key})
		if there, err := w.hasOperator(t.Context()); !there || err != nil {
			t.Errorf("%t, %v", there, err)
		}
		if err := w.firstOperator(context.Background(), w.newClient(1, token.Control, "x").public()); err == nil {
			t.Error("another operator is accepted")
		}
		x.engine.w, x.admin.w = w, w
		if a := x.check("doc:a", "viewer", "user:a").must(t, http.StatusOK); a.body["allowed"] != true {
			t.Errorf("%v", a.body)
		}
		w.operator.do(http.MethodPut, x.org, map[string]string{"name": "next", "state": "active"}, "If-Match", etag).must(t, http.StatusOK)
		w.audit()
	})
}

// A check is bound by what the service says, and by what the store takes.
func TestReadsOfAStore(t *testing.T) {
	x := start(t, "memory", options{set: map[string]string{"stores.authz.pipeline.size_limits.ops": "60"}, limits: engine.DefaultLimits()}).tenant("acme")
	for i := range 80 {
		x.change(change{Write: []tuple{{"doc:a", "viewer", fmt.Sprint("group:g", i, "#member")}, {"doc:b", "viewer", fmt.Sprint("user:u", i)}, {fmt.Sprint("doc:d", i), "viewer", "user:ada"}}}).must(t, http.StatusOK)
	}
	if a := x.check("doc:a", "viewer", "user:a").must(t, http.StatusUnprocessableEntity); a.text("code") != "check_reads" {
		t.Errorf("%v", a.body)
	}
	x.check("doc:b", "viewer", "user:a").must(t, http.StatusOK)
	// Nor is a removal larger than a write set of it.
	if a := x.engine.do(http.MethodDelete, x.vault+"/subjects/user:ada", nil).must(t, http.StatusOK); a.body["removed"] != 80.0 {
		t.Errorf("%v", a.body)
	}
	x.engine.w.audit()
}

// Without the store, checks fail, and so do tokens whose key is not in memory: with
// 503, and neither "no" nor "unauthenticated".
func TestWithoutStore(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x := w.tenant("acme")
		x.check("doc:a", "viewer", "user:a").must(t, http.StatusOK)
		if err := w.host.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.check("doc:a", "viewer", "user:a").must(t, http.StatusServiceUnavailable)
		x.engine.kid = "other"
		x.check("doc:a", "viewer", "user:a").must(t, http.StatusServiceUnavailable)
	})
}

// A panic of a handler is the end of its request, and not of the room that it took.
func TestPanic(t *testing.T) {
	w := start(t, "memory", options{flying: 1})
	w.router.Handle("GET /panic", func(http.ResponseWriter, *http.Request) (any, error) { panic(http.ErrAbortHandler) })
	for range 3 {
		res, err := http.Get(w.url + "/panic")
		if err == nil {
			res.Body.Close()
			t.Error("it was answered")
		}
	}
	if a := w.send(http.MethodGet, "/control/v1/organizations", nil); a.status != http.StatusUnauthorized {
		t.Errorf("%d", a.status)
	}
}
