package abi_test

import (
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// specExamples are the worked examples of SPEC.md, by the name of their block.
func specExamples(t testing.TB) map[string][]byte {
	now := abi.Header{Now: 1700000000000}
	expires := time.UnixMilli(1700000060000)
	incarnation := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	ada := storage.Item{Value: []byte("Ada"), Version: 300, ExpiresAt: expires}
	frame := func(id uint32, kind uint8, h *abi.Header, message []byte) []byte {
		b, err := abi.EndFrame(append(abi.BeginFrame(nil, id, kind, h), message...), 0)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return map[string][]byte{
		"get": frame(7, uint8(abi.OpGet), &abi.Header{Now: 1700000000000, Deadline: 1000, Budget: 65536},
			abi.AppendGet(nil, []byte("user:1"))),
		"get-answer": frame(7, uint8(storage.OK), nil, abi.AppendItem(nil, &ada)),
		"not-found":  frame(7, uint8(storage.NotFound), nil, nil),
		"apply": frame(8, uint8(abi.OpApply), &now, abi.AppendWriteSet(nil, &storage.WriteSet{
			Checks: []storage.Check{{Kind: storage.CheckAbsent, Key: []byte("user:2")}},
			Ops:    []storage.Op{storage.PutUntil([]byte("user:2"), []byte("Bob"), expires), storage.Delete([]byte("old"))},
		})),
		"applied":  frame(8, uint8(storage.OK), nil, abi.AppendVersion(nil, 301)),
		"conflict": frame(8, uint8(storage.Conflict), nil, abi.AppendError(nil, storage.ConflictAt(0))),
		"scan": frame(9, uint8(abi.OpScan), &now, abi.AppendQuery(nil, &storage.Query{
			Start: []byte("user:"), End: []byte("user;"), Limit: 2})),
		"page": frame(9, uint8(storage.OK), nil, abi.AppendPage(nil, &storage.Page{
			Items: []storage.Item{{Key: []byte("user:1"), Value: []byte("Ada"), Version: 300, ExpiresAt: expires},
				{Key: []byte("user:2"), Value: []byte{}, Version: 301}},
			Next: []byte("user:2\x00"), Version: 301})),
		"open": abi.AppendOpen(nil, &abi.Open{Name: "acme", Config: []byte(`{"a":1}`), MaxFrame: 64 << 20, Memory: 64 << 20,
			Now: 1700000000000, Incarnation: incarnation}),
		"info": abi.AppendInfo(nil, &storage.Info{Name: "acme", Version: "1.2.0", Incarnation: incarnation,
			Caps:   storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly | storage.CapOrdered,
			Limits: storage.Limits{Key: 1024, Value: 1 << 20}}),
		"health": frame(10, uint8(storage.OK), nil, abi.AppendHealth(nil, &storage.Health{Status: storage.Degraded,
			Reason: "disk slow", Details: map[string]string{"entries": "2"}})),
	}
}
