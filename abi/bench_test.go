package abi_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// The work of a call: what runs for every one of them, on both sides of the
// wall. None of it may allocate. The same list is the test and the benchmark.
type work struct {
	name string
	do   func()
}

var (
	sampleKey   = []byte("tenant/0042/key") // 15 bytes
	sampleItem  = storage.Item{Value: make([]byte, 100), Version: uint64(1700000000000) << 20, ExpiresAt: time.UnixMilli(1700000060000)}
	sampleWrite = storage.WriteSet{ID: [16]byte{1}, Checks: []storage.Check{{Kind: storage.CheckVersion, Key: sampleKey, Version: sampleItem.Version}},
		Ops: []storage.Op{storage.PutUntil(sampleKey, sampleItem.Value, sampleItem.ExpiresAt), storage.Delete(sampleKey)}}
	sampleHeader = abi.Header{Now: 1700000000000, Deadline: 1000, Budget: 65536,
		Traceparent: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), Tracestate: []byte("vendor=1")}
	sampleError = storage.Error{Code: storage.Conflict, Check: 1, Layer: "memory", Op: "apply", Limit: storage.Limit{Kind: "k", Max: 1}}
)

func sampleKeys(n int) (keys [][]byte, items []storage.Item) {
	for range n {
		it := sampleItem
		it.Key = sampleKey
		keys, items = append(keys, sampleKey), append(items, it)
	}
	return keys, items
}

func hotWork(tb testing.TB) []work {
	dst := make([]byte, 0, 64<<10)
	keys, items := sampleKeys(256)
	page := storage.Page{Items: items, Next: sampleKey, Version: 9}
	query := storage.Query{Start: sampleKey, End: []byte("tenant/0043"), Limit: 100, Reverse: true}
	frame, _ := abi.EndFrame(abi.AppendGet(abi.BeginFrame(nil, 7, 1, &sampleHeader), sampleKey), 0)
	get, many, query1 := abi.AppendGet(nil, sampleKey), abi.AppendGetMany(nil, keys), abi.AppendQuery(nil, &query)
	item, list, page1 := abi.AppendItem(nil, &sampleItem), abi.AppendItems(nil, items), abi.AppendPage(nil, &page)
	write, version := abi.AppendWriteSet(nil, &sampleWrite), abi.AppendVersion(nil, sampleItem.Version)
	var (
		h        abi.Header
		it       storage.Item
		q        storage.Query
		p        storage.Page
		w        storage.WriteSet
		ownKeys  [][]byte
		ownItems []storage.Item
	)
	must := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return []work{
		{"frame/append", func() {
			b, err := abi.EndFrame(abi.AppendGet(abi.BeginFrame(dst, 7, 1, &sampleHeader), sampleKey), 0)
			if must(err); len(b) != len(frame) {
				tb.Fatal("not the whole frame")
			}
		}},
		{"frame/read", func() {
			f, _, err := abi.ReadFrame(frame, 0)
			must(err)
			must(h.Decode(f.Header))
		}},
		{"get/append", func() { abi.AppendGet(dst, sampleKey) }},
		{"get/decode", func() { _, err := abi.DecodeGet(get); must(err) }},
		{"get_many_256/append", func() { abi.AppendGetMany(dst, keys) }},
		{"get_many_256/decode", func() {
			var err error
			ownKeys, err = abi.DecodeGetMany(many, ownKeys)
			must(err)
		}},
		{"query/append", func() { abi.AppendQuery(dst, &query) }},
		{"query/decode", func() { must(abi.DecodeQuery(query1, &q)) }},
		{"item/append", func() { abi.AppendItem(dst, &sampleItem) }},
		{"item/decode", func() { must(abi.DecodeItem(item, &it)) }},
		{"items_256/append", func() { abi.AppendItems(dst, items) }},
		{"items_256/decode", func() {
			var err error
			ownItems, err = abi.DecodeItems(list, ownItems)
			must(err)
		}},
		{"page_256/append", func() { abi.AppendPage(dst, &page) }},
		{"page_256/decode", func() { must(abi.DecodePage(page1, &p)) }},
		{"write_set/append", func() { abi.AppendWriteSet(dst, &sampleWrite) }},
		{"write_set/decode", func() { must(abi.DecodeWriteSet(write, &w)) }},
		{"version/append", func() { abi.AppendVersion(dst, sampleItem.Version) }},
		{"version/decode", func() { _, err := abi.DecodeVersion(version); must(err) }},
		{"error/append", func() { abi.AppendError(dst, &sampleError) }},
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, w := range hotWork(t) {
		t.Run(w.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, w.do); n != 0 {
				t.Errorf("it allocates %v times", n)
			}
		})
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, w := range hotWork(b) {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.do()
			}
		})
	}
}

// The generated codec on the same item, as a measure.
func BenchmarkGenerated(b *testing.B) {
	m := itemPB(&sampleItem)
	m.ExpiresAt = sampleItem.ExpiresAt.UnixMilli()
	encoded, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	b.Run("item/append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (proto.MarshalOptions{}).MarshalAppend(dst, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("item/decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var it pb.Item
			if err := proto.Unmarshal(encoded, &it); err != nil {
				b.Fatal(err)
			}
		}
	})
}
