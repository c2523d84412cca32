package abigrpc

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// Each message goes over as the generated codec would write it, and comes back.
func TestMessages(t *testing.T) {
	c := NewCodec()
	at := time.UnixMilli(1_700_000_000_000).UTC()
	large := bytes.Repeat([]byte("v"), 100<<10)
	for _, m := range []struct {
		sent, read Message
		schema     proto.Message
	}{
		{&GetRequest{Key: []byte("k")}, &GetRequest{}, &abipb.GetRequest{}},
		{&GetRequest{}, &GetRequest{}, &abipb.GetRequest{}},
		{&Item{storage.Item{Value: large, Version: 7, ExpiresAt: at}}, &Item{}, &abipb.Item{}},
		{&Item{storage.Item{Value: []byte{}}}, &Item{}, &abipb.Item{}},
		{&GetManyRequest{Keys: [][]byte{{}, []byte("a"), large}}, &GetManyRequest{}, &abipb.GetManyRequest{}},
		{&Items{[]storage.Item{{Key: []byte("a"), Value: large}, {Key: []byte{}, Value: []byte{}}}}, &Items{}, &abipb.Items{}},
		{&ScanRequest{Query: storage.Query{Start: []byte("a"), End: []byte{}, Limit: 3, Reverse: true}}, &ScanRequest{}, &abipb.ScanRequest{}},
		{&Page{storage.Page{Items: []storage.Item{{Key: []byte("a")}}, Next: []byte("b"), Version: 9}}, &Page{}, &abipb.Page{}},
		{&ChangesRequest{Query: storage.ChangeQuery{Start: []byte("a"), End: []byte{}, After: 1 << 60, FromNow: true, Limit: 3, MaxBytes: 4, Wait: time.Second}}, &ChangesRequest{}, &abipb.ChangesRequest{}},
		{&ChangePage{storage.ChangePage{Changes: []storage.Change{{Kind: storage.ChangePut, Key: []byte("a"), Value: large, ExpiresAt: at, Version: 8},
			{Kind: storage.ChangeDeleteRange, Key: []byte("a"), End: []byte{}, Version: 9}}, Next: 9}}, &ChangePage{}, &abipb.ChangePage{}},
		{&WriteSet{WriteSet: storage.WriteSet{ID: [16]byte{1}, Checks: []storage.Check{storage.HasValue([]byte("k"), large)},
			Ops: []storage.Op{storage.PutUntil([]byte("k"), large, at), storage.DeleteRange([]byte("a"), []byte("b"))}}}, &WriteSet{}, &abipb.WriteSet{}},
		{&ApplyResponse{Version: 1 << 60}, &ApplyResponse{}, &abipb.ApplyResponse{}},
		{&HealthRequest{Probe: storage.Readiness}, &HealthRequest{}, &abipb.HealthRequest{}},
		{&Health{storage.Health{Status: storage.Degraded, Reason: "slow", Details: map[string]string{"a": "b"}}}, &Health{}, &abipb.Health{}},
		{&Info{storage.Info{Name: "n", Caps: storage.CapTTL, Limits: storage.Limits{Key: 5}}}, &Info{}, &abipb.Info{}},
		{&Open{abi.Open{Name: "n", Config: []byte("{}"), MaxFrame: 5, Incarnation: [16]byte{1}}}, &Open{}, &abipb.Open{}},
		{&Empty{}, &Empty{}, &abipb.InfoRequest{}},
	} {
		data, err := c.Marshal(m.sent)
		if err != nil {
			t.Fatal(err)
		}
		wire := data.Materialize()
		if err := proto.Unmarshal(wire, m.schema); err != nil {
			t.Errorf("%T: the generated codec does not read it: %v", m.sent, err)
		}
		if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m.schema); err != nil || !bytes.Equal(again, wire) {
			t.Errorf("%T: the generated codec writes %x, this one %x", m.sent, again, wire)
		}
		if n := Size(m.sent); n < len(wire) {
			t.Errorf("%T: a size of %d for %d bytes", m.sent, n, len(wire))
		}
		half := len(wire) / 2 // in pieces, as they come
		pieces := mem.BufferSlice{mem.SliceBuffer(wire[:half]), mem.SliceBuffer(wire[half:])}
		if err := c.Unmarshal(pieces, m.read); err != nil {
			t.Errorf("%T: %v", m.read, err)
		}
		back, err := c.Marshal(m.read)
		if err != nil || !bytes.Equal(back.Materialize(), wire) {
			t.Errorf("%T does not come back as it was: %v", m.sent, err)
		}
		if f, ok := m.read.(interface{ Free() }); ok {
			f.Free()
			f.Free()
		}
	}
}

// What is not ours goes by the usual codec, and on the wire all of it is "proto".
func TestOtherMessages(t *testing.T) {
	c := NewCodec()
	sent := &healthpb.HealthCheckRequest{Service: "s"}
	data, err := c.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var read healthpb.HealthCheckRequest
	if err := c.Unmarshal(data, &read); err != nil || read.Service != "s" || c.Name() != "proto" {
		t.Errorf("%v, %v, %s", &read, err, c.Name())
	}
	if _, err := c.Marshal(5); err == nil {
		t.Error("a number is a message")
	}
}

// A request that cannot be read says so itself, for gRPC would answer in its place.
func TestRequestsThatAreNoMessages(t *testing.T) {
	c := NewCodec()
	for _, m := range []Message{&GetRequest{}, &GetManyRequest{}, &ScanRequest{}, &ChangesRequest{}, &WriteSet{}, &HealthRequest{}} {
		err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0x0a, 0xff}}, m)
		if err != nil {
			t.Errorf("%T: gRPC is told: %v", m, err)
		}
		if e := m.(interface{ Err() error }).Err(); storage.CodeOf(e) != storage.Serialization {
			t.Errorf("%T: %v", m, e)
		}
	}
	for _, m := range []Message{&Item{}, &Items{}, &Page{}, &ChangePage{}, &ApplyResponse{}, &Health{}, &Info{}} {
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0x0a, 0xff}}, m); err == nil {
			t.Errorf("%T: a cut answer is read", m)
		}
	}
}

// An answer's bytes are the reader's to keep, whatever becomes of the buffer.
func TestAnswersAreOwned(t *testing.T) {
	c := NewCodec()
	wire, _ := c.Marshal(&Item{storage.Item{Value: []byte("value")}})
	buffer := wire.Materialize()
	var it Item
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(buffer)}, &it); err != nil {
		t.Fatal(err)
	}
	clear(buffer)
	if string(it.Value) != "value" {
		t.Errorf("%q", it.Value)
	}
}

func TestShift(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		d    time.Duration
		want time.Time
	}{
		{time.Time{}, time.Hour, time.Time{}}, {at, 0, at}, {at, time.Hour, at.Add(time.Hour)}, {at, -time.Hour, at.Add(-time.Hour)},
		{time.UnixMilli(5), -time.Hour, time.UnixMilli(1).UTC()}, {far, 48 * time.Hour, time.Time{}}, {far, 1<<63 - 1, time.Time{}},
		{at, -1 << 63, time.UnixMilli(1).UTC()},
	} {
		if got := Shift(c.at, c.d); !got.Equal(c.want) || got.IsZero() != c.want.IsZero() {
			t.Errorf("%s by %s is %s, want %s", c.at, c.d, got, c.want)
		}
	}
	items := []storage.Item{{ExpiresAt: at}, {}}
	ShiftAll(items, time.Second)
	if !reflect.DeepEqual(items, []storage.Item{{ExpiresAt: at.Add(time.Second)}, {}}) {
		t.Errorf("%v", items)
	}
}
