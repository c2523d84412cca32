package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// liar returns the answer that it is given, whatever is asked.
type liar struct {
	storage.Backend
	items []storage.Item
	page  storage.Page
	err   error
	name  string
}

func (l *liar) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 0, l.err }

func (l *liar) Info() storage.Info {
	info := l.Backend.Info()
	if l.name != "" {
		info.Name = l.name
	}
	return info
}

func (l *liar) GetMany(context.Context, [][]byte) ([]storage.Item, error) { return l.items, nil }

func (l *liar) Scan(context.Context, storage.Query) (storage.Page, error) { return l.page, nil }

// Answers that do not fit the question are faults of the server.
func TestServerIsNotBelieved(t *testing.T) {
	l := &liar{Backend: mem(time.Now)}
	srv := start(t, grpcserver.Config{}, l, time.Now)
	c := dial(t, client.Config{Address: srv.address}, client.Settings{})
	item := func(key string) storage.Item { return storage.Item{Key: []byte(key), Value: []byte("v")} }
	for name, items := range map[string][]storage.Item{
		"not asked for": {item("x")}, "in another order": {item("b"), item("a")}, "too often": {item("a"), item("a")},
	} {
		l.items = items
		if _, err := c.GetMany(t.Context(), [][]byte{[]byte("a"), []byte("b")}); storage.CodeOf(err) != storage.Internal {
			t.Errorf("items %s: %v", name, err)
		}
	}
	for name, page := range map[string]storage.Page{
		"outside of the range": {Items: []storage.Item{item("z")}}, "in another order": {Items: []storage.Item{item("b"), item("a")}},
		"more than asked for": {Items: []storage.Item{item("a"), item("b"), item("bb")}}, "that never ends": {Next: []byte("a")},
	} {
		l.page = page
		if _, err := c.Scan(t.Context(), storage.Query{Start: []byte("a"), End: []byte("c"), Limit: 2}); storage.CodeOf(err) != storage.Internal {
			t.Errorf("a page %s: %v", name, err)
		}
	}
}

// What a server's errors and names say is bounded, changes nothing around it, and is of
// what was sent.
func TestServerErrorsAndNames(t *testing.T) {
	l := &liar{Backend: mem(time.Now)}
	srv := start(t, grpcserver.Config{}, l, time.Now)
	c := dial(t, client.Config{Address: srv.address}, client.Settings{})
	w := storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("k"))}, Ops: []storage.Op{storage.Put([]byte("k"), nil)}}
	l.err = storage.ConflictAt(0)
	if _, err := c.Apply(t.Context(), &w); storage.CodeOf(err) != storage.Conflict {
		t.Errorf("a check that was sent: %v", err)
	}
	l.err = storage.ConflictAt(7)
	if _, err := c.Apply(t.Context(), &w); storage.CodeOf(err) == storage.Conflict || !storage.AsError(err).Unknown {
		t.Errorf("a check that was not sent: %v", err)
	}
	l.err = &storage.Error{Code: storage.NoSpace, Msg: "no\x1b[2J such\nplinth: ok"}
	if _, err := c.Apply(t.Context(), &w); storage.CodeOf(err) != storage.NoSpace || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%q", err)
	}
	for _, name := range []string{strings.Repeat("x", 2<<20), "a\nb"} {
		l.name = name
		if c, err := client.Dial(t.Context(), client.Config{Address: srv.address}, client.Settings{}); err == nil {
			c.Close(t.Context())
			t.Errorf("a server with a name of %d bytes is believed", len(name))
		}
	}
}

// An answer that is larger than the client takes is refused, and it goes on.
func TestAnswersAreBounded(t *testing.T) {
	b := mem(time.Now)
	srv := start(t, grpcserver.Config{}, b, time.Now)
	whole := dial(t, client.Config{Address: srv.address}, client.Settings{})
	small := dial(t, client.Config{Address: srv.address, MessageBytes: 100 << 10}, client.Settings{})
	must(t, apply(whole, put("large", string(make([]byte, 200<<10)))))
	must(t, apply(small, put("small", "v")))
	if _, err := small.Get(t.Context(), []byte("large")); storage.CodeOf(err) != storage.RangeLimit {
		t.Errorf("%v", err)
	}
	if it, err := small.Get(t.Context(), []byte("small")); err != nil || string(it.Value) != "v" {
		t.Errorf("%q, %v", it.Value, err)
	}
	if n := small.Info().Limits.Value; n >= 100<<10 {
		t.Errorf("values of %d bytes are allowed and could not be read", n)
	}
}
