package ledger_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// What stands on a backend without versions, without expiries in its answers, and
// that checks only what it writes.

func TestStoreWithoutVersions(t *testing.T) {
	clock := wholeSecond()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	s := storage.New(openAt(t, c, clock), storage.Settings{Clock: clock.Now})
	if _, err := s.Put(t.Context(), bs("k"), bs("v"), storage.WithTTL(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if it, err := s.GetItem(t.Context(), bs("k")); err != nil || it.Version != 0 || !it.ExpiresAt.IsZero() || string(it.Value) != "v" {
		t.Errorf("the item is %+v, %v", it, err)
	}
	if _, err := s.Touch(t.Context(), bs("k"), time.Minute); err != nil { // by value
		t.Error(err)
	}
	clock.Advance(30 * time.Second)
	if v, err := s.Get(t.Context(), bs("k")); err != nil || string(v) != "v" {
		t.Errorf("touched, it is %q, %v", v, err)
	}
	for _, e := range []storage.Condition{storage.IfVersion(3)} {
		if _, err := s.Put(t.Context(), bs("k"), bs("w"), e); !errors.Is(err, storage.ErrUnsupported) {
			t.Errorf("a version is expected: %v", err)
		}
	}
	if _, err := s.Remove(t.Context(), bs("k"), storage.IfValue(bs("v"))); err != nil {
		t.Error(err)
	}
	for _, err := range s.Range(t.Context(), nil, nil, storage.RangeOptions{Snapshot: true}) {
		if !errors.Is(err, storage.ErrUnsupported) {
			t.Errorf("a range of a snapshot: %v", err)
		}
	}
	w := s.NewBatchWriter(storage.BatchOptions{})
	for i := range 2500 {
		if err := w.Put(t.Context(), []byte{'b', byte(i >> 8), byte(i)}, bs("v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil || w.Stats().Batches != 3 {
		t.Errorf("the batches: %+v, %v", w.Stats(), err)
	}
}

func TestTransactionsWithoutVersions(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c)
	s := storage.New(b, storage.Settings{})
	apply(t, b, storage.Put(bs("a"), bs("1")), storage.Put(bs("b"), bs("2")))
	// What is read and written is checked by its value.
	tx := s.Begin(storage.Serializable)
	if _, err := tx.Get(t.Context(), bs("a")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Set(t.Context(), bs("a"), bs("mine")); err != nil {
		t.Fatal(err)
	}
	apply(t, b, storage.Put(bs("a"), bs("theirs")))
	if _, err := tx.Commit(t.Context()); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("what was read has changed: %v", err)
	}
	// What is only read cannot be checked, and that is said, with nothing done.
	err := s.Update(t.Context(), func(tx *storage.Txn) error {
		if _, err := tx.Get(t.Context(), bs("a")); err != nil {
			return err
		}
		return tx.Set(t.Context(), bs("b"), bs("mine"))
	})
	if !errors.Is(err, storage.ErrUnsupported) {
		t.Errorf("a read of a key that is not written: %v", err)
	}
	wantValue(t, b, "b", "2")
	// The original's contract asks for no more than there is.
	_, err = s.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
		if _, err := tx.Get(t.Context(), bs("a")); err != nil {
			return err
		}
		for range tx.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		}
		return errors.Join(errOf(tx.Put(t.Context(), bs("b"), bs("3"), storage.IfValue(bs("2")))), tx.Delete(t.Context(), bs("a")))
	})
	if err != nil {
		t.Error(err)
	}
	wantValue(t, b, "b", "3")
	tx = s.Begin(storage.Serializable)
	for _, err := range tx.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		if !errors.Is(err, storage.ErrUnsupported) {
			t.Errorf("a serializable range: %v", err)
		}
	}
}

// The cache keeps what it knows not to expire: what was written through it without an expiry.
// Others write to the vault past it, so reads come from it only for as long as configured.
func TestCacheWithoutExpiries(t *testing.T) {
	clock := wholeSecond()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	other := openAt(t, c, clock)
	below := openAt(t, c, clock)
	top, err := defaultPipeline(below, clock)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close(context.Background())
	s := storage.New(top, storage.Settings{Clock: clock.Now})
	theirs := storage.New(other, storage.Settings{Clock: clock.Now})
	if err := errors.Join(s.Set(t.Context(), bs("for ever"), bs("v")), errOf(s.Put(t.Context(), bs("mine"), bs("v"), storage.WithTTL(10*time.Second))),
		errOf(theirs.Put(t.Context(), bs("theirs"), bs("v"), storage.WithTTL(10*time.Second)))); err != nil {
		t.Fatal(err)
	}
	reads := requests(c, "Read")
	get := func(key string) bool {
		t.Helper()
		_, err := s.Get(t.Context(), bs(key))
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	for range 10 {
		if !get("for ever") || !get("mine") || !get("theirs") {
			t.Error("a key is not there")
		}
	}
	if n := reads.Load(); n != 21 { // one of the first, and all of the others
		t.Errorf("30 reads took %d requests", n)
	}
	clock.Advance(11 * time.Second)
	if !get("for ever") || get("mine") || get("theirs") {
		t.Error("what has expired is answered")
	}
}

func TestHTTPWithoutVersions(t *testing.T) {
	clock := wholeSecond()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	store := storage.New(openAt(t, c, clock), storage.Settings{Clock: clock.Now})
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0", ShutdownTimeout: time.Second}},
		server.Settings{Stores: map[string]*storage.Store{"s": store}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Serve(ctx, l) }()
	client := &http.Client{}
	defer func() { client.CloseIdleConnections(); stop(); <-ended }()
	do := func(method, path, body string, headers ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+l.Addr().String()+"/v1/stores/s/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		read, err := io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		answer.Header.Set("X-Body", string(read))
		return answer
	}
	want := func(what string, answer *http.Response, status int, says string) {
		t.Helper()
		if answer.StatusCode != status || !strings.Contains(answer.Header.Get("X-Body"), says) {
			t.Errorf("%s: %d, want %d; %s", what, answer.StatusCode, status, answer.Header.Get("X-Body"))
		}
	}
	const apply = "Content-Type"
	want("insert", do("PUT", "keys/k", "v", "If-None-Match", "*"), 204, "")
	want("insert again", do("PUT", "keys/k", "v", "If-None-Match", "*"), 412, "conflict")
	want("replace", do("PUT", "keys/k?ttl=10s", "w", "If-Match", "*"), 204, "")
	want("a tag", do("PUT", "keys/k", "x", "If-Match", `"3"`), 501, "unsupported")
	got := do("GET", "keys/k", "")
	want("get", got, 200, "w")
	if got.Header.Get("ETag") != "" || got.Header.Get("Plinth-Expires-At") != "" {
		t.Errorf("the answer has a tag or an expiry: %v", got.Header)
	}
	want("list", do("GET", "keys?prefix=k", ""), 200, `"value":"w"`)
	want("an empty key", do("PUT", "keys/", "v"), 400, "empty")
	want("a long key", do("PUT", "keys/"+strings.Repeat("x", 513), "v"), 413, "key")
	want("a check of another key", do("POST", "apply", `{"checks":[{"key":"k","is":"present"}],"ops":[{"op":"put","key":"l","value":"v"}]}`, apply, "application/json"), 501, "unsupported")
	want("a write set", do("POST", "apply", `{"checks":[{"key":"k","value":"w"}],"ops":[{"op":"put","key":"l","value":"v"},{"op":"delete","key":"k"}]}`, apply, "application/json"), 200, `"version"`)
	want("what is gone", do("GET", "keys/k", ""), 404, "not_found")
	want("clear", do("DELETE", "keys?all=true", ""), 204, "")
}

// Reads that may be of any moment are asked of any node, also of one that is behind.
func TestEventualReads(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c, quickly, func(c *ledger.Config) { c.ReadConsistency = ledger.Eventual })
	apply(t, b, storage.Put(bs("k"), bs("0")))
	wantValue(t, b, "k", "0")
	c.Node(0).Isolate()
	apply(t, open(t, c, func(c *ledger.Config) { c.Endpoints = c.Endpoints[1:] }, func(*ledger.Config) { c.Lead(1) }), storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "0")
	// A check is of now, whatever reads are.
	if _, err := storage.New(b, storage.Settings{}).Put(t.Context(), bs("k"), bs("2"), storage.IfValue(bs("0"))); err == nil {
		t.Error("a compare-and-set was judged by an old state")
	}
	c.Node(0).Rejoin()
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
