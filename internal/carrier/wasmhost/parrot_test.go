package wasmhost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// The parrot guest returns the answers that it is given: here, well-formed frames and
// messages that do not fit the question.
func TestAnswersThatDoNotFit(t *testing.T) {
	ctx := context.Background()
	b := openGuest(t, "parrot", "", wasmhost.Options{Name: "parrot"})
	item := func(key, value string) storage.Item {
		return storage.Item{Key: []byte(key), Value: []byte(value), Version: 1}
	}
	items := func(it ...storage.Item) string { return "m" + string(abi.AppendItems(nil, it)) }
	page := func(next string, it ...storage.Item) string {
		p := storage.Page{Items: it}
		if next != "none" {
			p.Next = []byte(next)
		}
		return "m" + string(abi.AppendPage(nil, &p))
	}
	keys := [][]byte{[]byte("a"), []byte("b"), []byte("b"), []byte("c")}
	const notAsked = "plugin parrot: get_many: invalid answer of the plugin: items that were not requested, or in another order"
	for _, c := range []struct {
		name, answer, want string
	}{
		{"all", items(item("a", "1"), item("b", "2"), item("b", "2"), item("c", "3")), ""},
		{"some", items(item("b", "2"), item("c", "3")), ""},
		{"none", items(), ""},
		{"another", items(item("d", "4")), notAsked},
		{"one without a key", items(storage.Item{Value: []byte("v")}), notAsked},
		{"one too often", items(item("a", "1"), item("a", "1")), notAsked},
		{"in another order", items(item("c", "3"), item("a", "1")), notAsked},
		{"more than asked for", items(item("a", "1"), item("b", "2"), item("b", "2"), item("c", "3"), item("c", "3")), notAsked},
		{"cut", items(item("a", "1"))[:4], "plugin parrot: get_many: invalid answer of the plugin: items: the field at 0 is cut"},
	} {
		tell(t, b, c.answer)
		got, err := b.GetMany(ctx, keys)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, storage.ErrInternal) || err.Error() != c.want) {
			t.Errorf("get_many, %s: %d items, %v, want %q", c.name, len(got), err, c.want)
		}
	}

	const unread = "plugin parrot: scan: invalid answer of the plugin: "
	const outsideRange, back = unread + "items outside of the range, or not in its order", unread + "next does not advance"
	forward := storage.Query{Start: []byte("b"), End: []byte("y"), Limit: 3}
	backward := forward
	backward.Reverse = true
	for _, c := range []struct {
		name   string
		q      storage.Query
		answer string
		want   string
	}{
		{"as it should be", forward, page("e", item("b", "1"), item("d", "1")), ""},
		{"up to the end", forward, page("y", item("b", "1")), ""},
		{"empty, and goes on", forward, page("c"), ""},
		{"done", forward, page("none"), ""},
		{"before the range", forward, page("none", item("a", "1")), outsideRange},
		{"after the range", forward, page("none", item("y", "1")), outsideRange},
		{"not in order", forward, page("none", item("d", "1"), item("c", "1")), outsideRange},
		{"one twice", forward, page("none", item("d", "1"), item("d", "1")), outsideRange},
		{"too many", forward, page("none", item("c", "1"), item("d", "1"), item("e", "1"), item("f", "1")), unread + "more items than requested"},
		{"goes on at the start", forward, page("b"), back},
		{"goes on before the start", forward, page("a"), back},
		{"goes on at the empty key", forward, page(""), back},
		{"goes on at the last item", forward, page("d", item("b", "1"), item("d", "1")), back},
		{"goes on after the end", forward, page("z"), back},
		{"backward, as it should be", backward, page("d", item("f", "1"), item("d", "1")), ""},
		{"backward, up to the start", backward, page("b", item("f", "1")), ""},
		{"backward, just after the last", backward, page("d\x00", item("f", "1"), item("d", "1")), back},
		{"backward, in the other order", backward, page("none", item("d", "1"), item("f", "1")), outsideRange},
		{"backward, goes on at the end", backward, page("y"), back},
		{"backward, goes on before the start", backward, page("a"), back},
		{"cut", forward, page("e", item("b", "1"))[:3], unread + "page: the field at 0 is cut"},
	} {
		tell(t, b, c.answer)
		got, err := b.Scan(ctx, c.q)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, storage.ErrInternal) || err.Error() != c.want) {
			t.Errorf("scan, %s: %+v, %v, want %q", c.name, got, err, c.want)
		}
	}

	tell(t, b, "m\x08")
	_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}})
	if want := "plugin parrot: apply: invalid answer of the plugin: apply answer: the field at 0 is cut"; !errors.Is(err, storage.ErrOutcomeUnknown) || err.Error() != want {
		t.Errorf("apply: %v, want %s", err, want)
	}
	for answer, want := range map[string]storage.Status{"m": storage.Unhealthy, "m\x08\x01": storage.Healthy, "m\x08\x02": storage.Degraded, "m\x08\x63": storage.Unhealthy} {
		tell(t, b, answer)
		if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != want {
			t.Errorf("health %q: %+v, %v, want %v", answer, h, err, want)
		}
	}
	tell(t, b, "m\x08")
	if _, err := b.Health(ctx, storage.Readiness); !errors.Is(err, storage.ErrInternal) {
		t.Errorf("a health that is cut: %v", err)
	}
}

// What a guest's errors say is bounded, changes nothing around it, and is of what was
// sent.
func TestParrotErrors(t *testing.T) {
	ctx := context.Background()
	b := openGuest(t, "parrot", "", wasmhost.Options{Name: "parrot"})
	fails := func(id uint32, e *storage.Error) string {
		frame, err := abi.EndFrame(append(abi.BeginFrame(nil, id, uint8(e.Code), nil), abi.AppendError(nil, e)...), 0)
		if err != nil {
			t.Fatal(err)
		}
		return "a" + string(frame)
	}
	w := &storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("k"))}, Ops: []storage.Op{storage.Delete([]byte("k"))}}
	tell(t, b, fails(0, storage.ConflictAt(0)))
	if _, err := b.Apply(ctx, w); !errors.Is(err, storage.ErrConflict) || storage.AsError(err).FailedCheck() != 0 {
		t.Errorf("a check that was sent: %v", err)
	}
	tell(t, b, fails(0, storage.ConflictAt(1)))
	if _, err := b.Apply(ctx, w); !errors.Is(err, storage.ErrInternal) || !storage.AsError(err).Unknown {
		t.Errorf("a check that was not sent: %v", err)
	}
	const forged = "no\x1b[2J such\nplinth: ok"
	tell(t, b, fails(0, &storage.Error{Code: storage.NoSpace, Msg: forged, Limit: storage.Limit{Kind: forged, Max: 1}}))
	for name, call := range map[string]func() error{
		"apply": func() error { _, err := b.Apply(ctx, w); return err },
		"scan":  func() error { _, err := b.Scan(ctx, storage.Query{}); return err },
	} {
		if err := call(); !errors.Is(err, storage.ErrNoSpace) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %q", name, err)
		}
	}
}

// Whatever a guest answers, the caller gets an error or what they asked for, the
// host stands, and a loss is reported to the next caller.
func FuzzAnswers(f *testing.F) {
	ctx := context.Background()
	m := load(f, newRuntime(f), committed(f, "parrot"), wasmhost.Options{Name: "parrot", Call: time.Minute, Memory: 8 << 20,
		MaxFrame: 256 << 10, Log: slog.New(slog.DiscardHandler)})
	frame := func(code storage.Code, id uint32, message []byte) []byte {
		b, err := abi.EndFrame(append(abi.BeginFrame(nil, id, uint8(code), nil), message...), 0)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	it := storage.Item{Key: []byte("key"), Value: []byte("value"), Version: 7, ExpiresAt: time.UnixMilli(1)}
	page := storage.Page{Items: []storage.Item{it}, Next: []byte("next"), Version: 9}
	for op := range uint8(6) {
		f.Add(op, byte('a'), frame(storage.OK, 0, abi.AppendItem(nil, &it)))
		f.Add(op, byte('a'), frame(storage.NotFound, 0, nil))
		f.Add(op, byte('a'), frame(storage.OK, 1, nil))
		f.Add(op, byte('a'), slicesTwice(frame(storage.Conflict, 0, abi.AppendError(nil, storage.ConflictAt(0)))))
		f.Add(op, byte('m'), abi.AppendItems(nil, []storage.Item{it, it}))
		f.Add(op, byte('m'), abi.AppendPage(nil, &page))
		f.Add(op, byte('m'), abi.AppendVersion(nil, 300))
		f.Add(op, byte('m'), abi.AppendHealth(nil, &storage.Health{Status: storage.Healthy, Details: map[string]string{"a": "b"}}))
		f.Add(op, byte('R'), binary.LittleEndian.AppendUint64(nil, abi.PackResult(1024, 12, false)))
		f.Add(op, byte('R'), binary.LittleEndian.AppendUint64(nil, abi.PackCode(5)))
	}
	f.Add(uint8(0), byte('g'), abi.AppendItem(nil, &it))
	f.Add(uint8(0), byte('r'), binary.LittleEndian.AppendUint64(nil, abi.PackCode(abi.CodeUseCall)))
	f.Add(uint8(0), byte('r'), binary.LittleEndian.AppendUint64(nil, abi.PackResult(1<<31, 1<<20, true)))
	f.Fuzz(func(t *testing.T, op, mode byte, answer []byte) {
		if len(answer) > 64<<10 {
			return
		}
		b, err := m.Open(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(ctx)
		key := append([]byte{mode}, answer...)
		told, err := b.Get(ctx, key) // modes g and r answer at once
		if err == nil && told.Value == nil {
			t.Error("an item without a value")
		}
		switch err := ask(t, b, op, key); {
		case err == nil:
		case storage.AsError(err).Layer == "" && !errors.Is(err, storage.ErrNotFound):
			t.Errorf("it is not reported: %v", err)
		case errors.Is(err, storage.ErrUnavailable) && storage.AsError(err).Unknown:
			t.Errorf("unavailable, and unknown: %v", err)
		}
		if h, err := b.Health(ctx, storage.Liveness); err != nil || h.Status == storage.Unhealthy != (h.Reason != "") {
			t.Errorf("health: %+v, %v", h, err)
		}
		b.Info()
	})
}

// ask asks b for what op stands for, and checks an answer that is none of an error.
func ask(t *testing.T, b *wasmhost.Backend, op uint8, key []byte) error {
	ctx := context.Background()
	switch op % 6 {
	case 0:
		it, err := b.Get(ctx, []byte("c"+string(key)))
		if err == nil && it.Value == nil {
			t.Error("an item without a value")
		}
		if errors.Is(err, storage.ErrNotFound) {
			return nil // without a layer, on the fast path
		}
		return err
	case 1:
		keys := [][]byte{[]byte("key"), key, []byte("key")}
		items, err := b.GetMany(ctx, keys)
		at := 0
		for _, it := range items {
			for at < len(keys) && !bytes.Equal(keys[at], it.Key) {
				at++
			}
			if at++; at > len(keys) || it.Value == nil {
				t.Errorf("%q, which was not asked for", it.Key)
			}
		}
		return err
	case 2, 3:
		q := storage.Query{Start: []byte("k"), End: []byte("o"), Limit: 10, Reverse: op%6 == 3}
		page, err := b.Scan(ctx, q)
		for i, it := range page.Items {
			if !storage.InRange(it.Key, q.Start, q.End) || i > 0 && bytes.Compare(page.Items[i-1].Key, it.Key) < 0 == q.Reverse {
				t.Errorf("item %d, %q, is out of place", i, it.Key)
			}
		}
		if len(page.Items) > q.Limit {
			t.Errorf("%d items", len(page.Items))
		}
		return err
	case 4:
		_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("key"), key)}})
		return err
	}
	_, err := b.Health(ctx, storage.Readiness)
	return err
}

func slicesTwice(b []byte) []byte { return append(bytes.Clone(b), b...) }
