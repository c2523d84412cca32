package abi_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// What is refused, with what is said about it. Each of these is compared with
// the generated codec too.
func TestRefused(t *testing.T) {
	const (
		broken  = storage.Serialization
		invalid = storage.InvalidArgument
	)
	for _, c := range []struct {
		codec, what, bytes string
		code               storage.Code
		text               string
	}{
		{"Get", "cut tag", "0a 01 6b 8a", broken, "get: the field at 3 is cut"},
		{"Get", "cut length", "0a", broken, "get: the field at 0 is cut"},
		{"Get", "length past the end", "0a 02 6b", broken, "get: the field at 0 is cut"},
		{"Get", "length of all memory", "0a ff ff ff ff ff ff ff ff ff 01", broken, "the field at 0 is cut"},
		{"Get", "length of more than 64 bits", "0a ff ff ff ff ff ff ff ff ff 02", broken, "has a varint of more than 64 bits"},
		{"Get", "number 0", "02 00", broken, "has an invalid number"},
		{"Get", "number too large", "82 80 80 80 10 00", broken, "has an invalid number"},
		{"Get", "varint for bytes", "08 01", broken, "has the wrong wire type"},
		{"Get", "fixed for bytes", "0d 01 02 03 04", broken, "has the wrong wire type"},
		{"Get", "group", "0b 0c", broken, "has the wrong wire type"},
		{"Get", "unknown group", "7b 7c", broken, "has the wrong wire type"},
		{"Get", "end of a group", "7c", broken, "has the wrong wire type"},
		{"Get", "wire type 6", "7e", broken, "has the wrong wire type"},
		{"Get", "wire type 7", "7f", broken, "has the wrong wire type"},
		{"Get", "unknown fixed64 cut", "79 01 02 03 04 05 06 07", broken, "is cut"},
		{"Get", "unknown fixed32 cut", "7d 01 02 03", broken, "is cut"},
		{"Get", "unknown varint cut", "78 80", broken, "is cut"},
		{"Get", "unknown bytes cut", "7a 01", broken, "is cut"},
		{"GetMany", "second key cut", "0a 01 61 0a 02 62", broken, "get_many: the field at 3 is cut"},
		{"GetMany", "varint for keys", "08 01", broken, "wrong wire type"},
		{"Query", "bytes for a limit", "1a 01 01", broken, "scan: the field at 0 has the wrong wire type"},
		{"Query", "limit of 65 bits", "18 80 80 80 80 80 80 80 80 80 02", broken, "more than 64 bits"},
		{"Query", "limit of 11 bytes", "18 80 80 80 80 80 80 80 80 80 80 01", broken, "more than 64 bits"},
		{"WriteSet", "id of 15 bytes", "0a 0f 000000000000000000000000000001", invalid, "write set: the field at 0 has a length other than 16"},
		{"WriteSet", "id of 17 bytes", "0a 11 0000000000000000000000000000000001", invalid, "other than 16"},
		{"WriteSet", "bad id before a good one", "0a 01 01 0a 00", invalid, "other than 16"},
		{"WriteSet", "op kind 256", "1a 03 08 80 02", invalid, "write set: the field at 0: op: the field at 0 has a kind above 255"},
		{"WriteSet", "op kind -1", "1a 0b 08 ff ff ff ff ff ff ff ff ff 01", invalid, "above 255"},
		{"WriteSet", "check kind 257", "12 00 12 03 08 81 02", invalid, "write set: the field at 2: check: the field at 0 has a kind above 255"},
		{"WriteSet", "negative expiry", "1a 0b 28 ff ff ff ff ff ff ff ff ff 01", invalid, "op: the field at 0 is negative"},
		{"WriteSet", "op cut inside", "1a 02 12 05", broken, "op: the field at 0 is cut"},
		{"WriteSet", "check cut inside", "12 02 12 05", broken, "check: the field at 0 is cut"},
		{"WriteSet", "varint for ops", "18 01", broken, "wrong wire type"},
		{"Item", "negative expiry", "20 80 80 80 80 80 80 80 80 80 01", invalid, "item: the field at 0 is negative"},
		{"Item", "bytes for a version", "1a 00", broken, "wrong wire type"},
		{"Items", "field of a page", "0a 00 10 01 18", broken, "items: the field at 4 is cut"},
		{"Items", "item inside", "0a 00 0a 02 0a 09", broken, "items: the field at 2: item: the field at 0 is cut"},
		{"Page", "item inside", "0a 0b 20 ff ff ff ff ff ff ff ff ff 01", invalid, "page: the field at 0: item: the field at 0 is negative"},
		{"Page", "bytes for a version", "1a 00", broken, "page: the field at 0 has the wrong wire type"},
		{"Version", "bytes", "0a 00", broken, "apply answer: the field at 0 has the wrong wire type"},
		{"Version", "cut", "08 80", broken, "apply answer: the field at 0 is cut"},
		{"Probe", "256", "08 80 02", invalid, "health: the field at 0 has a kind above 255"},
		{"Probe", "bytes", "0a 00", broken, "wrong wire type"},
		{"Health", "reason not UTF-8", "12 01 ff", invalid, "health: the field at 0 is not valid UTF-8"},
		{"Health", "detail not UTF-8", "1a 03 0a 01 ff", invalid, "health detail: the field at 0 is not valid UTF-8"},
		{"Health", "half a rune", "12 02 e2 82", invalid, "not valid UTF-8"},
		{"Health", "detail cut", "1a 02 0a 01", broken, "health: the field at 0: health detail: the field at 0 is cut"},
		{"Open", "name not UTF-8", "0a 01 ff", invalid, "open: the field at 0 is not valid UTF-8"},
		{"Open", "negative now", "38 ff ff ff ff ff ff ff ff ff 01", invalid, "open: the field at 0 is negative"},
		{"Open", "incarnation of 1 byte", "42 01 00", invalid, "open: the field at 0 has a length other than 16"},
		{"Info", "incarnation of 1 byte", "1a 01 00", invalid, "info: the field at 0 has a length other than 16"},
		{"Info", "version not UTF-8", "12 01 80", invalid, "info: the field at 0 is not valid UTF-8"},
		{"Info", "limit cut", "2a 01 08", broken, "info: the field at 0: limits: the field at 0 is cut"},
		{"Info", "bytes for a limit", "2a 02 0a 00", broken, "limits: the field at 0 has the wrong wire type"},
	} {
		t.Run(c.codec+" "+c.what, func(t *testing.T) {
			b := unhex(t, c.bytes)
			codec := codecNamed(t, c.codec)
			_, err := codec.again(nil, b)
			if storage.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, code %v", err, storage.CodeOf(err))
			}
			codec.compare(t, b)
		})
	}
}

// What is accepted, and what is kept of it.
func TestAccepted(t *testing.T) {
	for _, c := range []struct{ codec, what, bytes, kept string }{
		{"Get", "nothing", "", ""},
		{"Get", "empty key", "0a 00", ""},
		{"Get", "the last counts", "0a 01 61 0a 01 62", "0a 01 62"},
		{"Get", "an empty last counts", "0a 01 61 0a 00", ""},
		{"Get", "tag and length longer than needed", "8a 80 00 81 00 61", "0a 01 61"},
		{"Get", "unknown fields", "10 01 19 0102030405060708 22 01 ff 2d 01020304 f8 ff ff ff 0f 05 0a 01 61", "0a 01 61"},
		{"GetMany", "empty keys", "0a 00 0a 00", "0a 00 0a 00"},
		{"GetMany", "unknown between", "0a 01 61 10 01 0a 01 62", "0a 01 61 0a 01 62"},
		{"Query", "no end, and an empty one", "12 00", "12 00"},
		{"Query", "true of any number", "28 7f 30 00", "28 01"},
		{"Query", "limits above int", "18 ff ff ff ff ff ff ff ff ff 01", "18 ff ff ff ff ff ff ff ff 7f"},
		{"Item", "absent and empty", "12 00", "12 00"},
		{"Item", "both empty", "0a 00 12 00", "0a 00 12 00"},
		{"Item", "after the year 9999", "20 80 b8 ff 90 fd ce 39", ""},
		{"Item", "not in order", "18 05 12 01 76", "12 01 76 18 05"},
		{"Page", "an empty next", "12 00", "12 00"},
		{"Page", "items of nothing", "0a 00 0a 00", "0a 00 0a 00"},
		{"WriteSet", "zero id", "0a 10 00000000000000000000000000000000", ""},
		{"WriteSet", "empty id", "0a 00", ""},
		{"WriteSet", "ops before checks", "1a 02 08 01 12 02 08 02", "12 02 08 02 1a 02 08 01"},
		{"WriteSet", "unknown kinds", "12 02 08 63 1a 02 08 64", "12 02 08 63 1a 02 08 64"},
		{"WriteSet", "nothing in them", "12 00 1a 00", "12 00 1a 00"},
		{"WriteSet", "kind of 33 bits", "1a 06 08 81 80 80 80 10", "1a 02 08 01"},
		{"Version", "largest", "08 ff ff ff ff ff ff ff ff ff 01", "08 ff ff ff ff ff ff ff ff ff 01"},
		{"Probe", "unknown", "08 09", "08 09"},
		{"Health", "no status", "", "08 03"},
		{"Health", "unknown status", "08 04", "08 03"},
		{"Health", "status of 33 bits", "08 81 80 80 80 10", "08 01"},
		{"Health", "detail of nothing", "08 01 1a 00", "08 01 1a 04 0a 00 12 00"},
		{"Health", "detail twice, in order of key", "08 01 1a 06 0a 01 62 12 01 31 1a 03 0a 01 61 1a 06 0a 01 62 12 01 32", "08 01 1a 05 0a 01 61 12 00 1a 06 0a 01 62 12 01 32"},
		{"Open", "minor of 33 bits", "18 81 80 80 80 10", "18 01"},
		{"Info", "limits twice are merged", "2a 02 08 05 2a 02 10 06", "2a 04 08 05 10 06"},
		{"Info", "limits of nothing", "2a 00", ""},
		{"Info", "unknown caps", "20 80 80 80 80 80 80 80 80 80 01", "20 80 80 80 80 80 80 80 80 80 01"},
		{"Info", "limits above int", "2a 0b 08 ff ff ff ff ff ff ff ff ff 01", "2a 0a 08 ff ff ff ff ff ff ff ff 7f"},
		{"Info", "longest durations", "2a 16 30 ff ff ff ff ff ff ff ff ff 01 38 ff ff ff ff ff ff ff ff ff 01", "2a 10 30 f7 b5 c1 de b7 8c 02 38 f6 b5 c1 de b7 8c 02"},
	} {
		t.Run(c.codec+" "+c.what, func(t *testing.T) {
			b := unhex(t, c.bytes)
			codec := codecNamed(t, c.codec)
			got, err := codec.again(nil, b)
			if err != nil || hex.EncodeToString(got) != strings.ReplaceAll(c.kept, " ", "") {
				t.Errorf("kept %x, %v", got, err)
			}
			codec.compare(t, b)
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Absent and empty are nil and not nil, exactly where the schema says optional.
func TestAbsentAndEmpty(t *testing.T) {
	var it storage.Item
	var q storage.Query
	var p storage.Page
	var w storage.WriteSet
	for name, c := range map[string]struct {
		err       error
		got, want [][]byte
	}{
		"item absent":  {abi.DecodeItem(nil, &it), [][]byte{it.Key, it.Value}, [][]byte{nil, nil}},
		"query absent": {abi.DecodeQuery(nil, &q), [][]byte{q.Start, q.End}, [][]byte{nil, nil}},
		"page absent":  {abi.DecodePage(nil, &p), [][]byte{p.Next}, [][]byte{nil}},
	} {
		if c.err != nil || !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %#v, %v", name, c.got, c.err)
		}
	}
	if err := abi.DecodeItem(unhex(t, "0a001200"), &it); err != nil || it.Key == nil || it.Value == nil || len(it.Key)+len(it.Value) != 0 {
		t.Errorf("item empty: %#v, %v", it, err)
	}
	if err := abi.DecodeQuery(unhex(t, "0a001200"), &q); err != nil || q.Start != nil || q.End == nil {
		t.Errorf("query empty: %#v, %v", q, err)
	}
	if err := abi.DecodePage(unhex(t, "1200"), &p); err != nil || p.Next == nil {
		t.Errorf("page empty: %#v, %v", p, err)
	}
	if err := abi.DecodeWriteSet(unhex(t, "1206 1200 1a00 2200 1a06 1200 1a00 2200"), &w); err != nil ||
		w.Checks[0].Key != nil || w.Checks[0].Value != nil || w.Checks[0].End == nil ||
		w.Ops[0].Key != nil || w.Ops[0].Value != nil || w.Ops[0].End == nil {
		t.Errorf("write set empty: %#v, %v", w, err)
	}
	if keys, err := abi.DecodeGetMany(unhex(t, "0a00"), nil); err != nil || len(keys) != 1 || keys[0] == nil {
		t.Errorf("keys empty: %#v, %v", keys, err)
	}
}

func TestExpiry(t *testing.T) {
	ms := time.UnixMilli
	for name, c := range map[string]struct{ sent, want time.Time }{
		"never":                 {time.Time{}, time.Time{}},
		"a millisecond":         {ms(1), ms(1)},
		"whole":                 {ms(1700000000123), ms(1700000000123)},
		"rounded up":            {ms(1700000000123).Add(time.Nanosecond), ms(1700000000124)},
		"rounded into a second": {ms(1700000000999).Add(time.Nanosecond), ms(1700000001000)},
		"the epoch":             {ms(0), ms(1)},
		"just after the epoch":  {ms(0).Add(time.Nanosecond), ms(1)},
		"just before the epoch": {ms(0).Add(-time.Nanosecond), ms(1)},
		"year 1, not zero":      {time.Time{}.Add(1), ms(1)},
		"before year 1":         {time.Time{}.AddDate(-5, 0, 0), ms(1)},
		"last of year 9999":     {ms(lastMillisecond), ms(lastMillisecond)},
		"rounded out of it":     {ms(lastMillisecond).Add(1), time.Time{}},
		"year 10000":            {ms(lastMillisecond + 1), time.Time{}},
		"the last second":       {time.Unix(math.MaxInt64/2, 0), time.Time{}},
		"another zone":          {ms(5).In(time.FixedZone("", 3600)), ms(5)},
	} {
		t.Run(name, func(t *testing.T) {
			var it storage.Item
			err := abi.DecodeItem(abi.AppendItem(nil, &storage.Item{ExpiresAt: c.sent}), &it)
			if err != nil || !it.ExpiresAt.Equal(c.want) || it.ExpiresAt.Location() != time.UTC {
				t.Errorf("it came as %v, %v", it.ExpiresAt, err)
			}
			o := storage.WriteSet{Ops: []storage.Op{{ExpiresAt: c.sent}}}
			var w storage.WriteSet
			if err := abi.DecodeWriteSet(abi.AppendWriteSet(nil, &o), &w); err != nil || !w.Ops[0].ExpiresAt.Equal(c.want) {
				t.Errorf("in an op it came as %+v, %v", w.Ops, err)
			}
		})
	}
}

// What Go values can say and the wire cannot is sent as the nearest that it can.
func TestSentOtherwise(t *testing.T) {
	var info storage.Info
	sent := storage.Info{Name: "a\xffb", Limits: storage.Limits{Key: -1, TTLPrecision: 1500 * time.Microsecond, IDWindow: time.Nanosecond}}
	want := storage.Info{Name: "a\uFFFDb", Limits: storage.Limits{TTLPrecision: 2 * time.Millisecond, IDWindow: time.Millisecond}}
	if err := abi.DecodeInfo(abi.AppendInfo(nil, &sent), &info); err != nil || info != want {
		t.Errorf("info %+v, %v", info, err)
	}
	sent.Limits = storage.Limits{IDWindow: 1999 * time.Microsecond, TTLPrecision: -1}
	if err := abi.DecodeInfo(abi.AppendInfo(nil, &sent), &info); err != nil || info.Limits != (storage.Limits{IDWindow: time.Millisecond}) {
		t.Errorf("limits %+v, %v", info.Limits, err)
	}
	if b := abi.AppendInfo(nil, &storage.Info{Limits: storage.Limits{Key: -1}}); len(b) != 0 {
		t.Errorf("negative limits are sent as %x", b)
	}
	if b := abi.AppendQuery(nil, &storage.Query{Limit: -1, MaxBytes: -5}); len(b) != 0 {
		t.Errorf("negative bounds are sent as %x", b)
	}
	if b := abi.AppendOpen(nil, &abi.Open{Now: -1}); len(b) != 0 {
		t.Errorf("a negative time is sent as %x", b)
	}
	var h storage.Health
	err := abi.DecodeHealth(abi.AppendHealth(nil, &storage.Health{Status: 1, Reason: "\xff", Details: map[string]string{"\xfe": "\xfd"}}), &h)
	if err != nil || h.Reason != "\uFFFD" || h.Details["\uFFFD"] != "\uFFFD" {
		t.Errorf("health %+v, %v", h, err)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk on fire")
	long := strings.Repeat("é", abi.MaxErrorText) // 2 bytes each
	for name, c := range map[string]struct{ sent, want storage.Error }{
		"bare":               {storage.Error{Code: storage.NotFound}, storage.Error{Code: storage.NotFound}},
		"cause as message":   {storage.Error{Code: storage.Internal, Err: cause}, storage.Error{Code: storage.Internal, Msg: "disk on fire"}},
		"message over cause": {storage.Error{Code: storage.Internal, Msg: "m", Err: cause}, storage.Error{Code: storage.Internal, Msg: "m"}},
		"unknown is implied": {storage.Error{Code: storage.OutcomeUnknown}, storage.Error{Code: storage.OutcomeUnknown, Unknown: true}},
		"rounded up":         {storage.Error{Code: storage.RateLimited, RetryAfter: 1}, storage.Error{Code: storage.RateLimited, RetryAfter: time.Millisecond}},
		"negative":           {storage.Error{Code: storage.RateLimited, RetryAfter: -1, Check: -1}, storage.Error{Code: storage.RateLimited}},
		"cut":                {storage.Error{Code: 1, Msg: long, Op: "x" + long}, storage.Error{Code: 1, Msg: long[:4096], Op: "x" + long[:4094]}},
		"mended":             {storage.Error{Code: 1, Msg: "a\xff\xfeb"}, storage.Error{Code: 1, Msg: "a\uFFFDb"}},
		"mended and cut":     {storage.Error{Code: 1, Layer: strings.Repeat("\xffa", 4096)}, storage.Error{Code: 1, Layer: strings.Repeat("\uFFFDa", 1024)}},
		"no code":            {storage.Error{Msg: "m"}, storage.Error{Code: storage.Internal, Msg: "an error without a code: m"}},
		"code of a newer one": {storage.Error{Code: 77, Msg: "m", Unknown: true},
			storage.Error{Code: storage.Internal, Msg: "the unknown error code 77: m", Unknown: true}},
		"negative limit": {storage.Error{Code: 9, Limit: storage.Limit{Kind: "k", Max: -1, Actual: math.MinInt64}},
			storage.Error{Code: 9, Limit: storage.Limit{Kind: "k", Max: -1, Actual: math.MinInt64}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := abi.DecodeError(abi.AppendError(nil, &c.sent)); *got != c.want {
				t.Errorf("it came as %#v", got)
			}
		})
	}
	for name, c := range map[string]struct{ bytes, text string }{
		"nothing":           {"", "an error without a code"},
		"garbage":           {"0b", "the answer's error could not be read: error: the field at 0 has the wrong wire type"},
		"cut":               {"08 01 22 05 61", "the answer's error could not be read: error: the field at 2 is cut"},
		"limit cut":         {"08 01 42 01 0a", "the answer's error could not be read: error: the field at 2: limit: the field at 0 is cut"},
		"code of 300":       {"08 ac 02", "the unknown error code 300"},
		"code of -1":        {"08 ff ff ff ff ff ff ff ff ff 01", "the unknown error code 4294967295"},
		"use call":          {"08 ff 01", "the unknown error code 255"},
		"texts not UTF-8":   {"08 05 22 02 61 ff", "a\uFFFD"},
		"limits are merged": {"08 05 22 01 6d 42 02 10 05 42 03 0a 01 6b", "m: k is 0, limit is 5"},
	} {
		t.Run(name, func(t *testing.T) {
			if e := abi.DecodeError(unhex(t, c.bytes)); e.Code != storage.Internal || e.Error() != c.text {
				t.Errorf("%v: %v", e.Code, e)
			}
		})
	}
}

// A message of as many elements as may be is read; of one more it is not, and
// costs nothing.
func TestElementsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		element string
		most    int
	}{
		"GetMany": {"0a00", abi.MaxElements}, "Items": {"0a00", abi.MaxElements}, "Page": {"0a00", abi.MaxElements},
		"WriteSet": {"12001a00", abi.MaxElements / 2}, "Health": {"1a00", abi.MaxDetails},
	} {
		t.Run(name, func(t *testing.T) {
			codec := codecNamed(t, name)
			b := unhex(t, strings.Repeat(c.element, c.most+1))
			dst := make([]byte, 0, 8<<20)
			boundedBy(t, len(b), func() { _, _ = codec.again(dst, b[:len(b)-len(c.element)/2]) })
			if _, err := codec.again(dst, b[:len(b)-len(c.element)/2]); err != nil {
				t.Errorf("%d: %v", c.most, err)
			}
			boundedBy(t, 0, func() { _, _ = codec.again(dst, b) })
			_, err := codec.again(dst, b)
			if storage.CodeOf(err) != storage.SizeLimit || !strings.Contains(fmt.Sprint(err), "too many") {
				t.Errorf("one more: %v", err)
			}
		})
	}
}

// Slices are used again, hold nothing of the message before, and lend no room.
func TestCapacityReused(t *testing.T) {
	w := storage.WriteSet{ID: [16]byte{1}, Checks: make([]storage.Check, 4), Ops: make([]storage.Op, 4)}
	for i := range 4 {
		w.Checks[i] = storage.Check{Kind: 5, Key: []byte("old"), End: []byte("old"), Value: []byte("old"), Version: 9}
		w.Ops[i] = storage.Op{Kind: 1, Key: []byte("old"), End: []byte("old"), Value: []byte("old"), ExpiresAt: time.Now()}
	}
	checks, ops := &w.Checks[0], &w.Ops[0]
	if err := abi.DecodeWriteSet(unhex(t, "1200 1a00 1a02 0801"), &w); err != nil {
		t.Fatal(err)
	}
	if want := (storage.WriteSet{Checks: []storage.Check{{}}, Ops: []storage.Op{{}, {Kind: 1}}}); !reflect.DeepEqual(w, want) {
		t.Errorf("%+v", w)
	}
	if &w.Checks[0] != checks || &w.Ops[0] != ops {
		t.Error("its slices were not used again")
	}
	b := unhex(t, "0a0161 0a0162")
	keys, err := abi.DecodeGetMany(b, make([][]byte, 1, 8))
	if err != nil || len(keys) != 2 || cap(keys) != 8 {
		t.Fatalf("%q, %v", keys, err)
	}
	_ = append(keys[0], 'X')
	if string(keys[1]) != "b" || string(b) != "\n\x01a\n\x01b" {
		t.Errorf("an append to a key wrote into the message: %q", b)
	}
	items, err := abi.DecodeItems(unhex(t, "0a00"), []storage.Item{{Key: []byte("old"), Version: 9}})
	if err != nil || !reflect.DeepEqual(items, []storage.Item{{}}) {
		t.Errorf("%+v, %v", items, err)
	}
}

// Whatever room there is from before, all elements are read, into slices that
// hold no more than they need.
func TestCapacityTooSmall(t *testing.T) {
	for have := range 5 {
		keys, err := abi.DecodeGetMany(unhex(t, "0a0161 0a0162 0a0163"), make([][]byte, have))
		if err != nil || fmt.Sprintf("%s", keys) != "[a b c]" || cap(keys) != max(have, 3) {
			t.Errorf("room for %d: keys %s, %v", have, keys, err)
		}
		p := storage.Page{Items: make([]storage.Item, have)}
		err = abi.DecodePage(unhex(t, "0a021801 0a021802 0a021803"), &p)
		if err != nil || len(p.Items) != 3 || p.Items[0].Version != 1 || p.Items[1].Version != 2 || p.Items[2].Version != 3 {
			t.Errorf("room for %d: %+v, %v", have, p, err)
		}
		w := storage.WriteSet{Checks: make([]storage.Check, have), Ops: make([]storage.Op, have)}
		err = abi.DecodeWriteSet(unhex(t, "1a020801 12020801 1a020802 12020802 1a020803"), &w)
		want := storage.WriteSet{Checks: []storage.Check{{Kind: 1}, {Kind: 2}}, Ops: []storage.Op{{Kind: 1}, {Kind: 2}, {Kind: 3}}}
		if err != nil || !reflect.DeepEqual(w, want) || cap(w.Checks) != max(have, 2) || cap(w.Ops) != max(have, 3) {
			t.Errorf("room for %d: %+v, %v", have, w, err)
		}
	}
}
