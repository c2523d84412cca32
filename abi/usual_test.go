package abi_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// readPut is what Put.Read does, by the functions that read everything.
func readPut(b []byte) (p abi.Put, ok bool) {
	f, rest, err := abi.ReadFrame(b, 0)
	var h abi.Header
	var w storage.WriteSet
	if err != nil || len(rest) > 0 || abi.Op(f.Kind) != abi.OpApply || h.Decode(f.Header) != nil || abi.DecodeWriteSet(f.Message, &w) != nil {
		return p, false
	}
	if len(w.Ops) != 1 || len(w.Checks) > 0 || w.ID != [16]byte{} || h.Traceparent != nil || h.Tracestate != nil {
		return p, false
	}
	o := &w.Ops[0]
	return abi.Put{ID: f.ID, Now: h.Now, Key: o.Key, Value: o.Value},
		o.Kind == storage.OpPut && o.End == nil && o.ExpiresAt.IsZero()
}

// agree fails if Put.Read takes b for something else than it is. It returns what Read does.
func agree(t *testing.T, b []byte) bool {
	t.Helper()
	var p abi.Put
	if !p.Read(b) {
		return false
	}
	want, ok := readPut(b)
	if !ok || p.ID != want.ID || p.Now != want.Now || !bytes.Equal(p.Key, want.Key) || !bytes.Equal(p.Value, want.Value) {
		t.Fatalf("%x is read as %+v, but is %+v, %v", b, p, want, ok)
	}
	return true
}

func setFrame(t testing.TB, h *abi.Header, w *storage.WriteSet) []byte {
	t.Helper()
	b, err := abi.EndFrame(abi.AppendWriteSet(abi.BeginFrame(nil, 77, uint8(abi.OpApply), h), w), 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var putHeaders = []*abi.Header{nil, {Now: 1}, {Now: 1700000000000, Deadline: 5000, Budget: 1 << 20}}

// Usual puts are taken for what they are, whatever their sizes.
func TestUsualPuts(t *testing.T) {
	sizes := []int{1, 2, 100, 105, 111, 112, 113, 127, 128, 129, 5000, 16370, 16383, 16384, 70_000, 2<<20 - 200}
	for _, h := range putHeaders {
		for _, key := range sizes {
			for _, value := range append([]int{0, 3 << 20}, sizes...) {
				w := &storage.WriteSet{Ops: []storage.Op{storage.Put(make([]byte, key), make([]byte, value))}}
				read := agree(t, setFrame(t, h, w))
				if usual := value >= 2 && key+value < 2<<20-100; usual && !read {
					t.Errorf("a put of %d bytes at a key of %d is not read", value, key)
				}
			}
		}
	}
}

// What is not a usual put, or no longer one for a byte, is not taken for one.
func TestUnusualPuts(t *testing.T) {
	key, value := []byte("key"), []byte("value")
	put := storage.Put(key, value)
	for name, w := range map[string]storage.WriteSet{
		"two":      {Ops: []storage.Op{put, put}},
		"none":     {},
		"check":    {Ops: []storage.Op{put}, Checks: []storage.Check{{Kind: storage.CheckAbsent, Key: key}}},
		"ID":       {Ops: []storage.Op{put}, ID: [16]byte{1}},
		"expiry":   {Ops: []storage.Op{storage.PutUntil(key, value, time.UnixMilli(1))}},
		"delete":   {Ops: []storage.Op{storage.Delete(key)}},
		"range":    {Ops: []storage.Op{storage.DeleteRange(key, value)}},
		"end":      {Ops: []storage.Op{{Kind: storage.OpPut, Key: key, End: []byte{}, Value: value}}},
		"no key":   {Ops: []storage.Op{storage.Put(nil, value)}},
		"no value": {Ops: []storage.Op{storage.Put(key, nil)}},
	} {
		if agree(t, setFrame(t, putHeaders[2], &w)) {
			t.Errorf("%s is taken for a usual put", name)
		}
	}
	trace := &abi.Header{Traceparent: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}
	if agree(t, setFrame(t, trace, &storage.WriteSet{Ops: []storage.Op{put}})) {
		t.Error("one with a trace is taken for a usual put")
	}
	whole := setFrame(t, putHeaders[2], &storage.WriteSet{Ops: []storage.Op{put}})
	for i := range whole {
		agree(t, whole[:i])
		for x := range 256 {
			b := bytes.Clone(whole)
			b[i] = byte(x)
			agree(t, b)
			agree(t, append(b, byte(x)))
			for j := i + 1; j < len(whole) && x&(x-1) == 0; j++ {
				for _, y := range []byte{0, 1, 0x7F, 0x80, 0xFF} {
					c := bytes.Clone(b)
					c[j] = y
					agree(t, c)
				}
			}
		}
	}
}

func FuzzPut(f *testing.F) {
	for _, h := range putHeaders {
		f.Add(setFrame(f, h, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("key"), []byte("value"))}}))
	}
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}

// What is appended in one go is what the functions for everything append, whatever room there is.
func TestUsualAnswers(t *testing.T) {
	sizes := []int{0, 1, 100, 126, 127, 128, 200, 4000, 16300, 16383, 16384, 20_000}
	versions := []uint64{0, 1, 1<<56 - 1, 1 << 56, 1<<60 + 0x0123456789ABCDE, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for bit := range 63 {
		versions = append(versions, 1<<62|1<<bit, 1<<63-1-1<<bit)
	}
	both := bytes.Repeat([]byte("0123456789"), 4001)
	rooms := func(want []byte, do func(dst []byte) []byte) {
		t.Helper()
		for _, room := range []int{0, 1, len(want) - 1, len(want), len(want) + 1, len(want) + 30} {
			dst := append(make([]byte, 0, 1+max(room, 0)), 'x')
			if got := do(dst); got != nil && (string(got[1:]) != string(want) || got[0] != 'x') {
				t.Fatalf("with room for %d bytes: %d bytes that differ from the %d wanted", room, len(got)-1, len(want))
			}
		}
	}
	for _, version := range versions {
		for _, key := range sizes {
			for _, value := range sizes {
				if key > 200 && value > 200 && version != versions[4] {
					continue
				}
				it := storage.Item{Key: both[:key], Value: both[key : key+value], Version: version}
				s := &abi.ItemShape{Key: key, Value: value, Version: version}
				rooms(abi.AppendItems(nil, []storage.Item{it}), func(dst []byte) []byte { return abi.AppendListed(dst, s, both[:key+value]) })
			}
		}
		for _, value := range sizes {
			it := storage.Item{Value: both[:value], Version: version}
			rooms(abi.AppendItem(nil, &it), func(dst []byte) []byte { return abi.AppendValue(dst, it.Value, version) })
		}
		frame, err := abi.EndFrame(abi.AppendVersion(abi.BeginFrame(nil, 77, uint8(storage.OK), nil), version), 0)
		if err != nil {
			t.Fatal(err)
		}
		rooms(frame, func(dst []byte) []byte { return abi.AppendApplied(dst, 77, version) })
	}
	s := &abi.ItemShape{Key: 3, Value: 4, Version: 1 << 60}
	if abi.AppendListed(make([]byte, 0, 100), s, both[:7]) == nil {
		t.Error("a usual item with room for it is not appended")
	}
	if s.Expires = 1; abi.AppendListed(make([]byte, 0, 100), s, both[:7]) != nil {
		t.Error("an item that expires is appended as one that does not")
	}
}
