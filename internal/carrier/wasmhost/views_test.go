package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// An answer belongs to the caller: it is no view of the guest's memory, which the next
// call changes and which is gone when the instance is closed.
func TestAnswersOutliveTheInstance(t *testing.T) {
	ctx := context.Background()
	b := openGuest(t, "hostile", "", hostileOptions)
	apply(t, b, storage.Put([]byte("a"), []byte("one")), storage.Put([]byte("b"), []byte("two")))
	it, err := get(b, "a")
	if err != nil {
		t.Fatal(err)
	}
	items, err := b.GetMany(ctx, [][]byte{[]byte("a"), []byte("b")})
	if err != nil {
		t.Fatal(err)
	}
	page, err := b.Scan(ctx, storage.Query{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, failed := b.Scan(ctx, storage.Query{Reverse: true})
	info := b.Info()
	want := fmt.Sprintf("%v %v %v %v %v", it, items, page, failed, info)
	for i := range 100 {
		apply(t, b, storage.Put([]byte("a"), fmt.Appendf(nil, "%d other", i)), storage.Put([]byte("b"), fmt.Appendf(nil, "%d other", i)))
	}
	if _, err := b.GetMany(ctx, [][]byte{[]byte("!call:last"), []byte("a")}); err != nil { // grows the memory
		t.Fatal(err)
	}
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%v %v %v %v %v", it, items, page, failed, info); got != want {
		t.Errorf("it was\n%s\nand is\n%s", want, got)
	}
	// And each value is its own: appending to one changes no other.
	_ = append(items[0].Value, "xxx"...)
	_ = append(items[0].Key, "xxx"...)
	if string(items[0].Value) != "one" || string(items[1].Value) != "two" || string(items[1].Key) != "b" {
		t.Errorf("%v", items)
	}
}

// A get allocates its value, and nothing else; what it costs in addition is held
// by the benchmarks.
func TestAllocations(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		b := openGuest(t, "kv", "", wasmhost.Options{Name: "kv", Trusted: trusted, BuiltIn: trusted})
		apply(t, b, storage.Put([]byte("key"), make([]byte, 100)))
		ctx, key := context.Background(), []byte("key")
		n := testing.AllocsPerRun(1000, func() {
			if _, err := b.Get(ctx, key); err != nil {
				t.Fatal(err)
			}
		})
		if n > 1 {
			t.Errorf("trusted=%t: %v allocations in a get", trusted, n)
		}
		absent := []byte("absent")
		if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, absent) }); n > 0 {
			t.Errorf("trusted=%t: %v allocations in a get of what is not there", trusted, n)
		}
	}
}

// reentrant is a log that asks the store whose guest is just logging.
type reentrant struct {
	slog.Handler
	b   *wasmhost.Backend
	err error
}

func (r *reentrant) Enabled(context.Context, slog.Level) bool { return true }
func (r *reentrant) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *reentrant) Handle(context.Context, slog.Record) error {
	if r.b == nil { // it is being opened
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, r.err = r.b.Get(ctx, []byte("key"))
	return nil
}

// A call from within a call waits for its turn, which cannot come: it never
// enters the guest, and the call that it is in ends as it should.
func TestIsNeverReentered(t *testing.T) {
	log := &reentrant{Handler: slog.DiscardHandler}
	b := openGuest(t, "hostile", "", wasmhost.Options{Name: "hostile", Call: time.Minute, Log: slog.New(log)})
	log.b = b
	apply(t, b, storage.Put([]byte("key"), []byte("value")), storage.Put([]byte("!call:say"), []byte("other")))
	it, err := get(b, "!call:say")
	if err != nil || string(it.Value) != "other" {
		t.Errorf("the call itself: %q, %v", it.Value, err)
	}
	if !errors.Is(log.err, storage.ErrTimeout) {
		t.Errorf("the call within: %v", log.err)
	}
	expectValue(t, b, "key", "value")
}
