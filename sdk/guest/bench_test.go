package guest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/storage"
)

// What a module does for the usual calls of the memory backend: for a look at where its
// time goes, GOOS=wasip1 GOARCH=wasm go test -c runs where there is a module plinth.
func BenchmarkExports(b *testing.B) {
	i := &instance{open: memory.Open}
	i.buffer(4096)
	n := copy(i.request, abi.AppendOpen(nil, &abi.Open{Now: 1700000000000, MaxFrame: 64 << 20, Memory: 1 << 30}))
	if r := i.doOpen(n); r.isErr {
		b.Fatal(abi.DecodeError(r.bytes))
	}
	key, w := []byte("key-000000000001"), &storage.WriteSet{}
	w.Ops = []storage.Op{storage.Put(key, make([]byte, 100))}
	set, _ := abi.EndFrame(abi.AppendWriteSet(abi.BeginFrame(nil, 0, uint8(abi.OpApply), &abi.Header{Now: 1, Budget: 1 << 20}), w), 0)
	copy(i.request, set)
	if r := i.doCall(len(set)); r.isErr {
		b.Fatal("set")
	}
	large := i.buffer(1 << 20) // room for all that follows
	_ = large
	var keys [][]byte
	for n := range 10_000 {
		keys = append(keys, fmt.Appendf(nil, "key-%012d", n*7919%10_000))
		w.Ops[0].Key = keys[n]
		f, _ := abi.EndFrame(abi.AppendWriteSet(abi.BeginFrame(nil, 0, uint8(abi.OpApply), &abi.Header{Now: 1}), w), 0)
		copy(i.request, f)
		i.doCall(len(f))
	}
	of := func(op abi.Op, message []byte) []byte {
		f, _ := abi.EndFrame(append(abi.BeginFrame(nil, 0, uint8(op), &abi.Header{Now: 1, Budget: 1 << 20}), message...), 0)
		return f
	}
	w.ID[0] = 1
	identified, _ := abi.EndFrame(abi.AppendWriteSet(abi.BeginFrame(nil, 0, uint8(abi.OpApply), &abi.Header{Now: 1}), w), 0)
	w.ID[0], w.Ops = 0, nil
	for _, key := range keys[:16] {
		w.Ops = append(w.Ops, storage.Put(key, make([]byte, 100)))
	}
	several, _ := abi.EndFrame(abi.AppendWriteSet(abi.BeginFrame(nil, 0, uint8(abi.OpApply), &abi.Header{Now: 1}), w), 0)
	one, many := of(abi.OpGet, abi.AppendGet(nil, key)), of(abi.OpGetMany, abi.AppendGetMany(nil, keys[:256]))
	scan := of(abi.OpScan, abi.AppendQuery(nil, &storage.Query{Start: keys[5], Limit: 100}))
	ids := uint64(0)
	next := func() uint64 { ids++; return ids }
	for _, part := range []struct {
		name string
		do   func()
	}{
		{"get", func() { copy(i.request, key); i.doGet(len(key), 1) }},
		{"set", func() { copy(i.request, set); i.doCall(len(set)) }},
		{"set with ID", func() {
			binary.LittleEndian.PutUint64(identified[26:], next())
			copy(i.request, identified)
			i.doCall(len(identified))
		}},
		{"set 16", func() { copy(i.request, several); i.doCall(len(several)) }},
		{"get by frame", func() { copy(i.request, one); i.doCall(len(one)) }},
		{"get many", func() { copy(i.request, many); i.doCall(len(many)) }},
		{"scan", func() { copy(i.request, scan); i.doCall(len(scan)) }},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				part.do()
			}
		})
	}
}
