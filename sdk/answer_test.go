package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// request is a frame as a carrier reads it.
func request(t testing.TB, op abi.Op, h *abi.Header, message []byte) abi.Frame {
	t.Helper()
	raw, err := abi.EndFrame(append(abi.BeginFrame(nil, 7, uint8(op), h), message...), 0)
	if err != nil {
		t.Fatal(err)
	}
	f, rest, err := abi.ReadFrame(raw, 0)
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	return f
}

// answer is one frame, with the request's id.
func answer(t testing.TB, raw []byte) abi.Frame {
	t.Helper()
	f, rest, err := abi.ReadFrame(raw, 0)
	if err != nil || len(rest) > 0 || f.ID != 7 {
		t.Fatalf("%v, %d bytes more, id %d", err, len(rest), f.ID)
	}
	return f
}

// plain hides what a backend can do in addition to the interface.
type plain struct{ storage.Backend }

const budget = 1 << 20

// Every op is answered, by a backend that keeps items encoded and by one that
// does not, with the same bytes.
func TestAnswers(t *testing.T) {
	ctx := context.Background()
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("a"), []byte("1")), storage.Put([]byte("b"), nil)}}); err != nil {
		t.Fatal(err)
	}
	write := &storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("a"))}, Ops: []storage.Op{storage.Delete([]byte("a"))}}
	for _, c := range []struct {
		name    string
		op      abi.Op
		message []byte
		code    storage.Code
	}{
		{"get", abi.OpGet, abi.AppendGet(nil, []byte("a")), storage.OK},
		{"get of nothing", abi.OpGet, abi.AppendGet(nil, []byte("none")), storage.NotFound},
		{"get many", abi.OpGetMany, abi.AppendGetMany(nil, [][]byte{[]byte("b"), []byte("none"), []byte("a")}), storage.OK},
		{"scan", abi.OpScan, abi.AppendQuery(nil, &storage.Query{Limit: 1}), storage.OK},
		{"scan of keys", abi.OpScan, abi.AppendQuery(nil, &storage.Query{KeysOnly: true, Reverse: true}), storage.OK},
		{"a check that fails", abi.OpApply, abi.AppendWriteSet(nil, write), storage.Conflict},
		{"apply of nothing", abi.OpApply, abi.AppendWriteSet(nil, &storage.WriteSet{}), storage.OK},
		{"health", abi.OpHealth, abi.AppendProbe(nil, storage.Readiness), storage.OK},
		{"a probe that there is not", abi.OpHealth, abi.AppendProbe(nil, 99), storage.InvalidArgument},
		{"no probe", abi.OpHealth, nil, storage.InvalidArgument},
		{"an unknown op", 99, nil, storage.Unsupported},
		{"changes, which it has not", abi.OpChanges, nil, storage.Unsupported},
		{"garbage", abi.OpApply, []byte{0xFF}, storage.Serialization},
	} {
		f := request(t, c.op, &abi.Header{Now: 1}, c.message)
		encoded := sdk.NewAnswerer(b).Answer([]byte(nil), f, budget)
		if got := answer(t, encoded); storage.Code(got.Kind) != c.code {
			t.Errorf("%s: %v, %v", c.name, storage.Code(got.Kind), got.Err())
		}
		if other := sdk.NewAnswerer(plain{b}).Answer(nil, f, budget); !bytes.Equal(encoded, other) {
			t.Errorf("%s: %x, without encoded items %x", c.name, encoded, other)
		}
	}
}

// An answer is never more than the budget: a page is kept shorter, anything else
// is refused, and says how much it would be.
func TestBudget(t *testing.T) {
	ctx := context.Background()
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	w := &storage.WriteSet{}
	for i := range 200 {
		w.Ops = append(w.Ops, storage.Put([]byte{byte(i)}, make([]byte, 1000)))
	}
	if _, err := b.Apply(ctx, w); err != nil {
		t.Fatal(err)
	}
	const small = 64 << 10
	for name, below := range map[string]storage.Backend{"encoded": b, "plain": plain{b}} {
		a := sdk.NewAnswerer(below)
		raw := a.Answer(nil, request(t, abi.OpScan, nil, abi.AppendQuery(nil, &storage.Query{})), small)
		var page storage.Page
		if err := abi.DecodePage(answer(t, raw).Message, &page); err != nil || len(raw) > small || len(page.Items) < 20 || page.Next == nil {
			t.Errorf("%s: a page of %d items in %d bytes: %v", name, len(page.Items), len(raw), err)
		}
		var keys [][]byte
		for i := range 200 {
			keys = append(keys, []byte{byte(i)})
		}
		raw = a.Answer(nil, request(t, abi.OpGetMany, nil, abi.AppendGetMany(nil, keys)), small)
		f := answer(t, raw)
		if e := f.Err(); e == nil || e.Code != storage.RangeLimit || e.Limit.Max > small || e.Limit.Max < small-100 || e.Limit.Actual < 200_000 {
			t.Errorf("%s: %v", name, f.Err())
		}
	}
}

// unwell returns the health that it is given.
type unwell struct {
	storage.UnimplementedBackend
	health   storage.Health
	deadline time.Time
}

func (u *unwell) Health(ctx context.Context, _ storage.Probe) (storage.Health, error) {
	u.deadline, _ = ctx.Deadline()
	return u.health, nil
}

func TestHealthIsCut(t *testing.T) {
	u := &unwell{health: storage.Health{Status: storage.Degraded, Reason: strings.Repeat("ü", 100_000), Details: map[string]string{}}}
	for i := range 1000 {
		u.health.Details[strings.Repeat("k", i)] = strings.Repeat("v", 1000)
	}
	raw := sdk.NewAnswerer(u).Answer(nil, request(t, abi.OpHealth, nil, abi.AppendProbe(nil, storage.Liveness)), budget)
	var h storage.Health
	if err := abi.DecodeHealth(answer(t, raw).Message, &h); err != nil || len(raw) > sdk.AnswerReserve || len(h.Reason) < 4000 || len(h.Details) < 10 {
		t.Errorf("%d bytes, %v, %d details", len(raw), err, len(h.Details))
	}
}

// The deadline of a call is its own.
func TestDeadline(t *testing.T) {
	u := &unwell{}
	a := sdk.NewAnswerer(u)
	probe := abi.AppendProbe(nil, storage.Liveness)
	a.Answer(nil, request(t, abi.OpHealth, &abi.Header{Deadline: 60_000}, probe), budget)
	if left := time.Until(u.deadline); left < 50*time.Second || left > time.Minute {
		t.Errorf("%s left", left)
	}
	a.Answer(nil, request(t, abi.OpHealth, nil, probe), budget)
	if !u.deadline.IsZero() {
		t.Error("the deadline of the call before")
	}
	a.Answer(nil, request(t, abi.OpHealth, &abi.Header{Deadline: 1 << 62}, probe), budget)
	if time.Until(u.deadline) < time.Hour {
		t.Error("an endless deadline has passed")
	}
}

func TestPanicError(t *testing.T) {
	e := sdk.PanicError(errors.New("boom"))
	if e.Code != storage.Internal || !e.Unknown || !strings.Contains(e.Error(), "panic: boom") {
		t.Error(e)
	}
}

// A get allocates nothing where items are kept encoded.
func TestAllocations(t *testing.T) {
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	if _, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}}); err != nil {
		t.Fatal(err)
	}
	a, f, buf := sdk.NewAnswerer(b), request(t, abi.OpGet, &abi.Header{Now: 5}, abi.AppendGet(nil, []byte("k"))), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(1000, func() { buf = a.Answer(buf[:0], f, budget) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}
