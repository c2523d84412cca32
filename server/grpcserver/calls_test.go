package grpcserver_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// Which store is meant is said in the metadata, and need not be where there is
// one.
func TestStores(t *testing.T) {
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
		set.Stores["other"] = storage.New(set.Stores["s"].Backend(), storage.Settings{})
	})
	s.fill("k")
	for _, name := range []string{"s", "other"} {
		if it, err := s.get(with(abigrpc.MetaStore, name), "k"); err != nil || string(it.Value) != "v-k" {
			t.Errorf("%s: %q, %v", name, it.Value, err)
		}
	}
	for name, ctx := range map[string]context.Context{
		"unknown": with(abigrpc.MetaStore, "none"), "twice": with(abigrpc.MetaStore, "s", abigrpc.MetaStore, "other"),
		"not said": context.Background(), "empty": with(abigrpc.MetaStore, ""), "long": with(abigrpc.MetaStore, strings.Repeat("x", 5000)),
	} {
		_, err := s.get(ctx, "k")
		if e := s.fails(err, codes.InvalidArgument, storage.InvalidArgument); len(e.Msg) > 300 {
			t.Errorf("%s: %s", name, e.Msg)
		}
	}
	one := serve(t, nil)
	one.fill("k")
	if it, err := one.get(context.Background(), "k"); err != nil || string(it.Value) != "v-k" || it.Key != nil {
		t.Errorf("the only store: %v, %v", it, err)
	}
}

// Errors come with all that belongs to them.
func TestErrors(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	_, err := s.get(context.Background(), "absent")
	s.fails(err, codes.NotFound, storage.NotFound)
	w := put("k", "x")
	w.Checks = []storage.Check{storage.Present([]byte("k")), storage.Absent([]byte("k"))}
	_, err = s.apply(context.Background(), w)
	if e := s.fails(err, codes.Aborted, storage.Conflict); e.FailedCheck() != 1 {
		t.Errorf("the check that failed is %d", e.FailedCheck())
	}
	_, err = s.apply(context.Background(), storage.WriteSet{Ops: []storage.Op{{Kind: 77, Key: []byte("k")}}})
	s.fails(err, codes.InvalidArgument, storage.InvalidArgument)
}

// Metadata is believed no more than messages are.
func TestHostileMetadata(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	for _, name := range []string{abigrpc.MetaNow, abigrpc.MetaBudget, abigrpc.MetaUntil} {
		for _, value := range []string{"x", "-1", "0", "1e9", "99999999999999999999", "253402300800000", " 1", strings.Repeat("9", 1000)} {
			var err error
			if name == abigrpc.MetaBudget { // of answers that may be large
				_, err = s.get(with(name, value), "k")
			} else {
				_, err = s.apply(with(name, value), put("bad", ""))
			}
			s.fails(err, codes.InvalidArgument, storage.InvalidArgument)
		}
	}
	for _, value := range []string{"x", strings.Repeat("z", 32), strings.Repeat("0", 33), strings.Repeat("0", 31)} {
		_, err := s.apply(with(abigrpc.MetaUntil, millis(s.now.Add(time.Minute)), abigrpc.MetaWrite, value), put("bad", ""))
		s.fails(err, codes.InvalidArgument, storage.InvalidArgument)
	}
	if _, err := s.store.Get(context.Background(), []byte("bad")); storage.CodeOf(err) != storage.NotFound {
		t.Errorf("it was written: %v", err)
	}
	err := s.call(with("x", strings.Repeat("x", 32<<10)), abigrpc.MethodGet, &abigrpc.GetRequest{}, &abigrpc.Item{})
	if err == nil {
		t.Error("metadata of 32 KiB is taken")
	}
}

func millis(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }

// Limits are looked at before work is done, and Info says them.
func TestLimits(t *testing.T) {
	s := serve(t, func(c *grpcserver.Config, _ *grpcserver.Settings) { c.MaxOps, c.MaxKeys, c.MessageBytes = 3, 2, 1<<20 })
	ctx := context.Background()
	var info abigrpc.Info
	must(t, s.call(ctx, abigrpc.MethodInfo, &abigrpc.Empty{}, &info))
	if l := info.Limits; l.Ops != 3 || l.GetKeys != 2 || l.Value != 512<<10 || l.WriteBytes >= 1<<20 || l.Key > 256<<10 {
		t.Errorf("%+v", l)
	}
	w := storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("x"))}}
	for i := range 3 {
		w.Ops = append(w.Ops, storage.Put([]byte{byte(i)}, nil))
	}
	_, err := s.apply(ctx, w)
	if e := s.fails(err, codes.InvalidArgument, storage.SizeLimit); e.Limit != (storage.Limit{Kind: "ops", Max: 3, Actual: 4}) {
		t.Errorf("%+v", e.Limit)
	}
	err = s.call(ctx, abigrpc.MethodGetMany, &abigrpc.GetManyRequest{Keys: make([][]byte, 3)}, &abigrpc.Items{})
	if e := s.fails(err, codes.InvalidArgument, storage.SizeLimit); e.Limit != (storage.Limit{Kind: "keys", Max: 2, Actual: 3}) {
		t.Errorf("%+v", e.Limit)
	}
	if _, err := s.apply(ctx, put("large", strings.Repeat("x", 2<<20))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 2 MiB: %v", err)
	}
}

// An answer is no larger than its caller wants: of a page so many items as fit.
func TestBudget(t *testing.T) {
	s := serve(t, nil)
	ctx := context.Background()
	for i := range 20 {
		must(t, s.store.Set(ctx, fmt.Appendf(nil, "%02d", i), bytes.Repeat([]byte("v"), 1000)))
	}
	budget := with(abigrpc.MetaBudget, "3500")
	for _, reverse := range []bool{false, true} {
		q, got := storage.Query{Reverse: reverse}, 0
		for {
			var page abigrpc.Page
			must(t, s.call(budget, abigrpc.MethodScan, &abigrpc.ScanRequest{Query: q}, &page))
			if len(page.Items) != 3 && page.Next != nil {
				t.Fatalf("a page of %d items", len(page.Items))
			}
			for _, it := range page.Items {
				want := got
				if reverse {
					want = 19 - got
				}
				if string(it.Key) != fmt.Sprintf("%02d", want) {
					t.Fatalf("%q at %d", it.Key, got)
				}
				got++
			}
			if page.Next == nil {
				break
			}
			if q.Start = page.Next; reverse {
				q.Start, q.End = nil, page.Next
			}
		}
		if got != 20 {
			t.Errorf("%d items", got)
		}
	}
	small := with(abigrpc.MetaBudget, "500")
	_, err := s.get(small, "00")
	s.fails(err, codes.OutOfRange, storage.RangeLimit)
	s.fails(s.call(small, abigrpc.MethodScan, &abigrpc.ScanRequest{}, &abigrpc.Page{}), codes.OutOfRange, storage.RangeLimit)
	keys := [][]byte{[]byte("00"), []byte("01"), []byte("02"), []byte("03")}
	s.fails(s.call(budget, abigrpc.MethodGetMany, &abigrpc.GetManyRequest{Keys: keys}, &abigrpc.Items{}), codes.OutOfRange, storage.RangeLimit)
}

// A caller that says what time it has sends and gets expiries by that.
func TestClocks(t *testing.T) {
	s := serve(t, nil)
	for _, ahead := range []time.Duration{0, time.Hour, -3 * time.Hour, 1500 * time.Millisecond} {
		theirs := s.now.Add(ahead)
		w := storage.WriteSet{Ops: []storage.Op{storage.PutUntil([]byte("k"), nil, theirs.Add(time.Minute)), storage.Put([]byte("for ever"), nil),
			storage.PutUntil([]byte("past"), nil, theirs.Add(-time.Minute))}}
		_, err := s.apply(with(abigrpc.MetaNow, millis(theirs)), w)
		must(t, err)
		it, err := s.store.GetItem(context.Background(), []byte("k"))
		if err != nil || !it.ExpiresAt.Equal(s.now.Add(time.Minute)) {
			t.Errorf("a clock %s ahead: kept until %s, %v", ahead, it.ExpiresAt, err)
		}
		got, err := s.get(with(abigrpc.MetaNow, millis(theirs)), "k")
		if err != nil || !got.ExpiresAt.Equal(theirs.Add(time.Minute)) {
			t.Errorf("a clock %s ahead: answered as until %s, %v", ahead, got.ExpiresAt, err)
		}
		var page abigrpc.Page
		must(t, s.call(with(abigrpc.MetaNow, millis(theirs)), abigrpc.MethodScan, &abigrpc.ScanRequest{}, &page))
		if len(page.Items) != 2 || !page.Items[0].ExpiresAt.IsZero() || !page.Items[1].ExpiresAt.Equal(theirs.Add(time.Minute)) {
			t.Errorf("%+v", page.Items)
		}
	}
	var header metadata.MD
	must(t, s.call(context.Background(), abigrpc.MethodInfo, &abigrpc.Empty{}, &abigrpc.Info{}, grpc.Header(&header)))
	if got := header.Get(abigrpc.MetaNow); len(got) != 1 || got[0] != millis(s.now) {
		t.Errorf("the server's clock: %q", got)
	}
}

// A write that comes too late is not begun; by the caller's clock, if it has one.
func TestLateWrites(t *testing.T) {
	s := serve(t, nil)
	_, err := s.apply(with(abigrpc.MetaUntil, millis(s.now)), put("k", "in time"))
	must(t, err)
	_, err = s.apply(with(abigrpc.MetaUntil, millis(s.now.Add(-time.Millisecond))), put("k", "late"))
	s.fails(err, codes.DeadlineExceeded, storage.Timeout)
	theirs := s.now.Add(time.Hour)
	_, err = s.apply(with(abigrpc.MetaNow, millis(theirs), abigrpc.MetaUntil, millis(theirs)), put("k", "theirs"))
	must(t, err)
	_, err = s.apply(with(abigrpc.MetaNow, millis(theirs), abigrpc.MetaUntil, millis(s.now)), put("k", "late"))
	s.fails(err, codes.DeadlineExceeded, storage.Timeout)
	_, err = s.apply(with(abigrpc.MetaUntil, millis(s.now.Add(time.Minute+time.Millisecond))), put("k", "for ever"))
	s.fails(err, codes.InvalidArgument, storage.InvalidArgument)
	if got, _ := s.get(context.Background(), "k"); string(got.Value) != "theirs" {
		t.Errorf("%q", got.Value)
	}
}

// A refusal holds for all attempts of a write until it is too late for them, and
// for no other write, also one with the same ID.
func TestRefusalsHold(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	name := func(n byte) context.Context {
		return with(abigrpc.MetaUntil, millis(s.now.Add(time.Second)), abigrpc.MetaWrite, hex.EncodeToString(bytes.Repeat([]byte{n}, 16)))
	}
	w := put("k", "x")
	w.ID = [16]byte{1}
	w.Checks = []storage.Check{storage.Absent([]byte("k"))}
	_, err := s.apply(name(1), w)
	s.fails(err, codes.Aborted, storage.Conflict)
	must(t, s.store.Delete(context.Background(), []byte("k"))) // now it would do
	_, err = s.apply(name(1), w)
	if e := s.fails(err, codes.Aborted, storage.Conflict); e.FailedCheck() != 0 {
		t.Errorf("the refusal is not the one of before: %+v", e)
	}
	_, err = s.apply(name(2), w)
	must(t, err)
	_, err = s.apply(name(2), w) // what was done, the backend remembers
	must(t, err)
	s.now = s.now.Add(2 * time.Second)
	must(t, s.store.Delete(context.Background(), []byte("k")))
	w.ID = [16]byte{2}
	_, err = s.apply(name(1), w)
	s.fails(err, codes.Aborted, storage.Conflict) // it is asked under another time, and still known
}

// Writes without a name have nothing to do with each other.
func TestWritesWithoutAName(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	ctx := with(abigrpc.MetaUntil, millis(s.now.Add(time.Minute)))
	refused := put("k", "x")
	refused.Checks = []storage.Check{storage.Absent([]byte("k"))}
	_, err := s.apply(ctx, refused)
	s.fails(err, codes.Aborted, storage.Conflict)
	_, err = s.apply(ctx, put("k", "y"))
	must(t, err)
}

// Attempts of one write that come at once run one after the other.
func TestAttemptsAtOnce(t *testing.T) {
	slow := &slowApply{}
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
		slow.Backend = set.Stores["s"].Backend()
		set.Stores["s"] = storage.New(slow, storage.Settings{Clock: set.Stores["s"].Now})
	})
	w := put("k", "v")
	w.ID = [16]byte{9}
	ctx := with(abigrpc.MetaUntil, millis(s.now.Add(time.Minute)))
	var callers sync.WaitGroup
	versions := make([]uint64, 8)
	for i := range versions {
		callers.Go(func() {
			v, err := s.apply(ctx, w)
			if err != nil {
				t.Error(err)
			}
			versions[i] = v
		})
	}
	callers.Wait()
	if slow.most > 1 {
		t.Errorf("%d attempts of one write at once", slow.most)
	}
	for _, v := range versions {
		if v != versions[0] || v == 0 {
			t.Errorf("versions %v", versions)
		}
	}
}

// slowApply counts how many applies there are at once.
type slowApply struct {
	storage.Backend
	mu        sync.Mutex
	now, most int
}

func (b *slowApply) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	time.Sleep(2 * time.Millisecond) // for others to come
	defer func() {
		b.mu.Lock()
		b.now--
		b.mu.Unlock()
	}()
	return b.Backend.Apply(ctx, w)
}

// raw is a codec of bytes.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(data mem.BufferSlice, v any) (_ error) {
	*v.(*[]byte) = data.Materialize()
	return
}

var _ encoding.CodecV2 = raw{}

// A request that cannot be read fails with an Error that says so, and does nothing.
func TestMalformedMessages(t *testing.T) {
	s := serve(t, nil)
	for _, method := range []string{abigrpc.MethodGet, abigrpc.MethodGetMany, abigrpc.MethodScan, abigrpc.MethodApply, abigrpc.MethodHealth} {
		for _, message := range [][]byte{{0x0a, 0xff}, {0xff}, bytes.Repeat([]byte{0x0a}, 1000), {0x0b}, {0x00}} {
			var answer []byte
			err := s.conn.Invoke(context.Background(), method, message, &answer, grpc.ForceCodecV2(raw{}))
			if e := abigrpc.FromStatus(err); e == nil || e.Code != storage.InvalidArgument || status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s of %x: %v", method, message, err)
			}
		}
	}
	many := bytes.Repeat([]byte{0x0a, 0x00}, 1<<18+1)
	var answer []byte
	err := s.conn.Invoke(context.Background(), abigrpc.MethodGetMany, many, &answer, grpc.ForceCodecV2(raw{}))
	s.fails(err, codes.InvalidArgument, storage.SizeLimit)
	if err := s.conn.Invoke(context.Background(), "/"+abigrpc.Service+"/Watch", []byte{}, &answer, grpc.ForceCodecV2(raw{})); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
}

// A backend that panics ends its call, not the process.
func TestPanic(t *testing.T) {
	s := serve(t, func(_ *grpcserver.Config, set *grpcserver.Settings) {
		set.Stores["s"] = storage.New(panics{}, storage.Settings{})
	})
	_, err := s.get(context.Background(), "k")
	s.fails(err, codes.Internal, storage.Internal)
	for range 2 {
		_, err = s.apply(with(abigrpc.MetaUntil, millis(time.Now().Add(time.Minute))), put("k", ""))
		if e := s.fails(err, codes.Unknown, storage.Internal); !e.Unknown {
			t.Errorf("%+v", e)
		}
	}
}

type panics struct{ storage.UnimplementedBackend }

func (panics) Get(context.Context, []byte) (storage.Item, error)        { panic("get") }
func (panics) Apply(context.Context, *storage.WriteSet) (uint64, error) { panic("apply") }

// Close closes nothing: the store is not the caller's alone.
func TestCloseClosesNothing(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	must(t, s.call(context.Background(), abigrpc.MethodClose, &abigrpc.Empty{}, &abigrpc.Empty{}))
	if it, err := s.get(context.Background(), "k"); err != nil || string(it.Value) != "v-k" {
		t.Errorf("%v, %v", it, err)
	}
}
