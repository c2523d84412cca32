package abi_test

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// Whatever value is sent: both codecs emit the same bytes for it, and ours reads
// it back as it was, absent and empty kept apart.
func TestRoundTripProperty(t *testing.T) {
	t.Run("open", rapid.MakeCheck(func(t *rapid.T) {
		want := abi.Open{Name: texts.Draw(t, "name"), Config: plains.Draw(t, "config"), Minor: rapid.Uint32().Draw(t, "minor"),
			Features: numbers.Draw(t, "features"), MaxFrame: rapid.Uint32().Draw(t, "max frame"),
			Memory: numbers.Draw(t, "memory"), Now: rapid.Int64Min(0).Draw(t, "now"), Incarnation: ids.Draw(t, "incarnation")}
		var got abi.Open
		b := same(t, openPB(&want), abi.AppendOpen(nil, &want))
		equal(t, abi.DecodeOpen(b, &got), want, &got)
	}))
	t.Run("info", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.Info{Name: texts.Draw(t, "name"), Version: texts.Draw(t, "version"), Incarnation: ids.Draw(t, "incarnation"),
			Caps: storage.Caps(numbers.Draw(t, "caps")), Limits: limits.Draw(t, "limits")}
		var got storage.Info
		b := same(t, infoPB(&want), abi.AppendInfo(nil, &want))
		equal(t, abi.DecodeInfo(b, &got), want, &got)
	}))
	t.Run("get", rapid.MakeCheck(func(t *rapid.T) {
		want := plains.Draw(t, "key")
		b := same(t, &pb.GetRequest{Key: want}, abi.AppendGet(nil, want))
		got, err := abi.DecodeGet(b)
		equal(t, err, want, &got)
	}))
	t.Run("get many", rapid.MakeCheck(func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 9).Draw(t, "keys")
		b := same(t, &pb.GetManyRequest{Keys: want}, abi.AppendGetMany(nil, want))
		got, err := abi.DecodeGetMany(b, nil)
		equal(t, err, want, &got)
	}))
	t.Run("query", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.Query{Start: plains.Draw(t, "start"), End: optionals.Draw(t, "end"),
			Limit: rapid.IntMin(0).Draw(t, "limit"), MaxBytes: rapid.IntMin(0).Draw(t, "max bytes"),
			Reverse: rapid.Bool().Draw(t, "reverse"), KeysOnly: rapid.Bool().Draw(t, "keys only"), AtVersion: numbers.Draw(t, "at")}
		var got storage.Query
		b := same(t, queryPB(&want), abi.AppendQuery(nil, &want))
		equal(t, abi.DecodeQuery(b, &got), want, &got)
	}))
	t.Run("write set", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.WriteSet{ID: ids.Draw(t, "id"), Checks: rapid.SliceOfN(checks, 1, 5).Draw(t, "checks"),
			Ops: rapid.SliceOfN(ops, 1, 5).Draw(t, "ops")}
		var got storage.WriteSet
		b := same(t, writeSetPB(&want), abi.AppendWriteSet(nil, &want))
		equal(t, abi.DecodeWriteSet(b, &got), want, &got)
	}))
	t.Run("item", rapid.MakeCheck(func(t *rapid.T) {
		want := items.Draw(t, "item")
		var got storage.Item
		b := same(t, itemPB(&want), abi.AppendItem(nil, &want))
		equal(t, abi.DecodeItem(b, &got), want, &got)
		if n := len(abi.AppendPage(nil, &storage.Page{Items: []storage.Item{want}})); abi.ItemSize(&want) != n {
			t.Fatalf("its size is said to be %d and is %d", abi.ItemSize(&want), n)
		}
	}))
	t.Run("items", rapid.MakeCheck(func(t *rapid.T) {
		want := rapid.SliceOfN(items, 1, 5).Draw(t, "items")
		b := same(t, &pb.Items{Items: itemsPB(want)}, abi.AppendItems(nil, want))
		got, err := abi.DecodeItems(b, nil)
		equal(t, err, want, &got)
	}))
	t.Run("page", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.Page{Items: rapid.SliceOfN(items, 1, 5).Draw(t, "items"), Next: optionals.Draw(t, "next"),
			Version: numbers.Draw(t, "version")}
		var got storage.Page
		b := same(t, pagePB(&want), abi.AppendPage(nil, &want))
		equal(t, abi.DecodePage(b, &got), want, &got)
	}))
	t.Run("changes", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.ChangeQuery{Start: plains.Draw(t, "start"), End: optionals.Draw(t, "end"), After: numbers.Draw(t, "after"),
			FromNow: rapid.Bool().Draw(t, "from now"), Limit: rapid.IntMin(0).Draw(t, "limit"), MaxBytes: rapid.IntMin(0).Draw(t, "max bytes"),
			Wait: durations.Draw(t, "wait")}
		var got storage.ChangeQuery
		b := same(t, changeQueryPB(&want), abi.AppendChangeQuery(nil, &want))
		equal(t, abi.DecodeChangeQuery(b, &got), want, &got)
	}))
	t.Run("change page", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.ChangePage{Changes: rapid.SliceOfN(changes, 1, 5).Draw(t, "changes"), Next: numbers.Draw(t, "next")}
		var got storage.ChangePage
		b := same(t, changePagePB(&want), abi.AppendChangePage(nil, &want))
		equal(t, abi.DecodeChangePage(b, &got), want, &got)
		if n := abi.ChangePageSize(&want); n != len(b) {
			t.Fatalf("its size is said to be %d and is %d", n, len(b))
		}
	}))
	t.Run("version", rapid.MakeCheck(func(t *rapid.T) {
		want := numbers.Draw(t, "version")
		b := same(t, &pb.ApplyResponse{Version: want}, abi.AppendVersion(nil, want))
		got, err := abi.DecodeVersion(b)
		equal(t, err, want, &got)
	}))
	t.Run("probe", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.Probe(rapid.Uint8().Draw(t, "probe"))
		b := same(t, &pb.HealthRequest{Probe: pb.Probe(want)}, abi.AppendProbe(nil, want))
		got, err := abi.DecodeProbe(b)
		equal(t, err, want, &got)
	}))
	t.Run("health", rapid.MakeCheck(func(t *rapid.T) {
		want := storage.Health{Status: storage.Status(rapid.Uint8Range(1, 3).Draw(t, "status")), Reason: texts.Draw(t, "reason"),
			Details: rapid.MapOfN(texts, texts, 1, 5).Draw(t, "details")}
		var got storage.Health
		b := same(t, healthPB(&want), abi.AppendHealth(nil, &want))
		equal(t, abi.DecodeHealth(b, &got), want, &got)
	}))
	t.Run("error", rapid.MakeCheck(func(t *rapid.T) {
		want := &storage.Error{Code: storage.Code(rapid.Uint8Range(1, 22).Draw(t, "code")), Op: texts.Draw(t, "op"),
			Layer: texts.Draw(t, "layer"), Msg: texts.Draw(t, "message"), RetryAfter: durations.Draw(t, "retry after"),
			Unknown: rapid.Bool().Draw(t, "unknown"), Check: rapid.IntMin(0).Draw(t, "check"),
			Limit: storage.Limit{Kind: texts.Draw(t, "kind"), Max: rapid.Int64().Draw(t, "max"),
				Actual: rapid.Int64().Draw(t, "actual")}, ConfigPath: texts.Draw(t, "path")}
		want.Unknown = want.Unknown || want.Code == storage.OutcomeUnknown
		b := same(t, errorPB(want), abi.AppendError(nil, want))
		got := abi.DecodeError(b)
		equal(t, nil, want, &got)
	}))
}

// same gives the bytes of both codecs, which have to be the same.
func same(t *rapid.T, m proto.Message, byHand []byte) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, byHand) {
		t.Fatalf("the schema's bytes are %x, ours %x", b, byHand)
	}
	return b
}

// equal takes a pointer, because got is decoded while the arguments are evaluated.
func equal[T any](t *rapid.T, err error, want T, got *T) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, *got) {
		t.Fatalf("sent %+v, read %+v", want, *got)
	}
}

var (
	texts   = rapid.StringN(0, 20, 200)
	numbers = rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300), rapid.Just(uint64(math.MaxUint64)))
	ids     = rapid.OneOf(rapid.Just([16]byte{}), rapid.Custom(func(t *rapid.T) (id [16]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	}))
	// plains are bytes of fields where empty is absent, optionals of the others.
	plains    = rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 1, 300))
	optionals = rapid.OneOf(plains, rapid.Just([]byte{}))
	times     = rapid.OneOf(rapid.Just(time.Time{}), rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(1, lastMillisecond).Draw(t, "ms")).UTC()
	}))
	durations = rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(0, math.MaxInt64/1_000_000).Draw(t, "ms")) * time.Millisecond
	})
	limits = rapid.OneOf(rapid.Just(storage.Limits{}), rapid.Custom(func(t *rapid.T) storage.Limits {
		n := rapid.IntMin(0)
		return storage.Limits{Key: n.Draw(t, "key"), Value: n.Draw(t, "value"), Ops: n.Draw(t, "ops"),
			WriteBytes: n.Draw(t, "write bytes"), GetKeys: n.Draw(t, "get keys"), IDCount: n.Draw(t, "id count"),
			TTLPrecision: durations.Draw(t, "precision"), IDWindow: durations.Draw(t, "window")}
	}))
	items = rapid.Custom(func(t *rapid.T) storage.Item {
		return storage.Item{Key: optionals.Draw(t, "key"), Value: optionals.Draw(t, "value"),
			Version: numbers.Draw(t, "version"), ExpiresAt: times.Draw(t, "expires")}
	})
	checks = rapid.Custom(func(t *rapid.T) storage.Check {
		return storage.Check{Kind: storage.CheckKind(rapid.Uint8().Draw(t, "kind")), Key: plains.Draw(t, "key"),
			End: optionals.Draw(t, "end"), Value: plains.Draw(t, "value"), Version: numbers.Draw(t, "version")}
	})
	ops = rapid.Custom(func(t *rapid.T) storage.Op {
		return storage.Op{Kind: storage.OpKind(rapid.Uint8().Draw(t, "kind")), Key: plains.Draw(t, "key"),
			End: optionals.Draw(t, "end"), Value: plains.Draw(t, "value"), ExpiresAt: times.Draw(t, "expires")}
	})
	changes = rapid.Custom(func(t *rapid.T) storage.Change {
		return storage.Change{Kind: storage.ChangeKind(rapid.Uint8().Draw(t, "kind")), Key: plains.Draw(t, "key"), End: optionals.Draw(t, "end"),
			Value: plains.Draw(t, "value"), ExpiresAt: times.Draw(t, "expires"), Version: numbers.Draw(t, "version")}
	})
)
