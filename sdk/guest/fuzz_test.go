package guest

import (
	"encoding/binary"
	"log/slog"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/storage"
)

// Whatever bytes a host puts into the buffer, a guest answers frames for the first
// of them, within the budget, or says as a whole that it cannot; it never panics.
func FuzzCall(f *testing.F) {
	key := []byte("a")
	page := abi.AppendQuery(nil, &storage.Query{Start: key, End: []byte("z"), Limit: 3})
	f.Add(put(0, "a", []byte("1")))
	f.Add(append(put(0, "a", []byte("1")), frame(1, abi.OpGet, nil, abi.AppendGet(nil, key))...))
	f.Add(frame(7, abi.OpGetMany, &abi.Header{Now: 1, Deadline: 5, Budget: 100}, abi.AppendGetMany(nil, [][]byte{key, key})))
	f.Add(append(frame(1, abi.OpScan, nil, page), frame(2, abi.OpScan, &abi.Header{Budget: 1}, page)...))
	f.Add(frame(1, abi.OpHealth, nil, abi.AppendProbe(nil, storage.Readiness)))
	f.Add(frame(1, 99, nil, nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, requests []byte) {
		if len(requests) > 64<<10 {
			return
		}
		i := opened(t, memory.Open, nil)
		i.log = func(slog.Level, []byte) {}
		i.call(t, put(0, "a", make([]byte, 100)), put(1, "b", make([]byte, 70_000)))
		r := i.doCall(i.write(requests))
		if i.broken != nil {
			t.Fatal(i.broken)
		}
		if r.code != 0 {
			t.Fatalf("a bare code %d", r.code)
		}
		if r.isErr || len(requests) == 0 {
			return
		}
		answered := 0
		for rest, asked := r.bytes, requests; len(rest) > 0; answered++ {
			answer, after, err := abi.ReadFrame(rest, 0)
			if err != nil {
				t.Fatalf("answer %d: %v", answered, err)
			}
			if id := binary.LittleEndian.Uint32(asked[4:]); answer.ID != id {
				t.Fatalf("answer %d is to %d, not to %d", answered, answer.ID, id)
			}
			if e := answer.Err(); e != nil && e.Code == storage.Internal {
				t.Fatalf("answer %d: %v", answered, e)
			}
			rest, asked = after, asked[abi.FrameSize(asked):]
		}
		if answered == 0 {
			t.Error("no answer")
		}
		if len(r.bytes) > i.max {
			t.Errorf("%d bytes, of %d", len(r.bytes), i.max)
		}
	})
}

// A key is any bytes, and so is an Open message.
func FuzzOpenAndGet(f *testing.F) {
	f.Add(abi.AppendOpen(nil, &abi.Open{Name: "n", Config: []byte(`{"max_bytes": "1MiB"}`), MaxFrame: 1 << 20, Now: 5}), []byte("key"), int64(1))
	f.Add([]byte{0xff}, []byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, message, key []byte, now int64) {
		if len(message) > 1<<20 || len(key) > 1<<20 {
			return
		}
		i := &instance{open: memory.Open, log: func(slog.Level, []byte) {}}
		i.buffer(len(message))
		r := i.doOpen(i.write(message))
		if r.isErr {
			if e := abi.DecodeError(r.bytes); i.broken != nil || e.Code == storage.Internal {
				t.Fatal(e)
			}
			return
		}
		if r := i.doGet(i.write(key), now); r.code != uint8(storage.NotFound) && r.code != abi.CodeUseCall {
			t.Fatalf("%+v", r)
		}
		if r := i.doClose(); r.isErr {
			t.Fatal(abi.DecodeError(r.bytes))
		}
	})
}
