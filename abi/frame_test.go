package abi_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// workedFrame is the example of SPEC.md: a get of "user:1".
const workedFrame = "2a 00 00 00 07 00 00 00 01 00 1a 00" + // length 42, id 7, get, no flags, header of 26
	" 01 08 00 68 e5 cf 8b 01 00 00" + // now 1700000000000
	" 02 08 e8 03 00 00 00 00 00 00" + // deadline 1000
	" 05 04 00 00 01 00" + // budget 65536
	" 0a 06 75 73 65 72 3a 31" // field 1, 6 bytes

func TestFrameBytes(t *testing.T) {
	b := abi.BeginFrame([]byte("before"), 7, uint8(abi.OpGet), &abi.Header{Now: 1700000000000, Deadline: 1000, Budget: 65536})
	b, err := abi.EndFrame(abi.AppendGet(b, []byte("user:1")), len("before"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b[len("before"):]), strings.ReplaceAll(workedFrame, " ", ""); got != want {
		t.Fatalf("it is\n%s, not\n%s", got, want)
	}
	f, rest, err := abi.ReadFrame(append(b[len("before"):], "after"...), 0)
	if err != nil || string(rest) != "after" || f.ID != 7 || f.Kind != uint8(abi.OpGet) {
		t.Fatalf("read %+v, rest %q, %v", f, rest, err)
	}
	var h abi.Header
	if err := h.Decode(f.Header); err != nil || h.Now != 1700000000000 || h.Deadline != 1000 || h.Budget != 65536 {
		t.Fatalf("header %+v, %v", h, err)
	}
	if key, err := abi.DecodeGet(f.Message); err != nil || string(key) != "user:1" {
		t.Fatalf("key %q, %v", key, err)
	}
	if cap(f.Header) != len(f.Header) || cap(f.Message) != len(f.Message) {
		t.Error("an append to a view of the frame would overwrite what follows it")
	}
}

// Wherever a frame is cut, what is missing is more bytes, and nothing is lost.
func TestFrameCut(t *testing.T) {
	whole, _ := hex.DecodeString(strings.ReplaceAll(workedFrame, " ", ""))
	for n := range whole {
		f, rest, err := abi.ReadFrame(whole[:n], 0)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) != n || f.Message != nil {
			t.Errorf("cut to %d bytes: %+v, rest of %d, %v", n, f, len(rest), err)
		}
		want := uint64(len(whole))
		if n < 4 {
			want = 0
		}
		if got := abi.FrameSize(whole[:n]); got != want {
			t.Errorf("cut to %d bytes: its size is said to be %d", n, got)
		}
	}
}

func TestFrameRefused(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		most  int
		code  storage.Code
		text  string
		rest  int
	}{
		"4 GiB":                 {"ff ff ff ff 01 00 00 00 01 00 00 00", 0, storage.SizeLimit, "frame is 4294967299, limit is 67108864", 12},
		"one byte over":         {"09 00 00 00 01 00 00 00 01 00 00 00 00", 12, storage.SizeLimit, "frame is 13, limit is 12", 13},
		"too long and cut":      {"00 00 00 10", 1 << 20, storage.SizeLimit, "frame is 268435460", 4},
		"no length":             {"00 00 00 00", 0, storage.Serialization, "a length of 0", 4},
		"shorter than its head": {"07 00 00 00 01 00 00 00 01 00 00", 0, storage.Serialization, "a length of 7", 11},
		"header past the end":   {"08 00 00 00 01 00 00 00 01 00 01 00", 0, storage.Serialization, "a header of 1 bytes in a frame of 12", 12},
		"header into the next":  {"08 00 00 00 01 00 00 00 01 00 0c 00 08 00 00 00 01 00 00 00 01 00 00 00", 0, storage.Serialization, "a header of 12 bytes", 24},
		"flags":                 {"08 00 00 00 01 00 00 00 01 80 00 00 aa", 0, storage.Unsupported, "unknown flags 0x80", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := hex.DecodeString(strings.ReplaceAll(c.frame, " ", ""))
			f, rest, err := abi.ReadFrame(b, c.most)
			if storage.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) || len(rest) != c.rest {
				t.Errorf("%+v, rest of %d, %v", f, len(rest), err)
			}
			if c.code == storage.Unsupported && f.ID != 1 {
				t.Errorf("its id is lost: %+v", f)
			}
		})
	}
}

func TestFrameSmallest(t *testing.T) {
	b, err := abi.EndFrame(abi.BeginFrame(nil, 1, uint8(storage.NotFound), nil), 0)
	if err != nil || hex.EncodeToString(b) != "080000000100000001000000" {
		t.Fatalf("%x, %v", b, err)
	}
	f, rest, err := abi.ReadFrame(b, len(b))
	if err != nil || len(rest)+len(f.Header)+len(f.Message) != 0 {
		t.Fatalf("%+v, %x, %v", f, rest, err)
	}
	if e := f.Err(); e == nil || e.Code != storage.NotFound || e.Unknown {
		t.Fatalf("its error is %#v", e)
	}
}

// An answer's error is of the frame's code, whatever its message says.
func TestFrameErr(t *testing.T) {
	conflict := abi.AppendError(nil, &storage.Error{Code: storage.Conflict, Check: 3})
	for name, c := range map[string]struct {
		f    abi.Frame
		want string
		code storage.Code
	}{
		"ok":              {abi.Frame{}, "", storage.OK},
		"ok with message": {abi.Frame{Message: conflict}, "", storage.OK},
		"bare":            {abi.Frame{Kind: 7}, "retries exhausted", storage.RetriesExhausted},
		"with message":    {abi.Frame{Kind: 2, Message: conflict}, "conflict: a check failed", storage.Conflict},
		"two codes":       {abi.Frame{Kind: 15, Message: conflict}, "invalid argument", storage.InvalidArgument},
		"unknown":         {abi.Frame{Kind: 99}, "the unknown error code 99", storage.Internal},
		"use call":        {abi.Frame{Kind: abi.CodeUseCall}, "the unknown error code 255", storage.Internal},
		"not a message":   {abi.Frame{Kind: 2, Message: []byte{0x0B}}, "the answer's error could not be read: error: the field at 0 has the wrong wire type; the write may have been applied", storage.Internal},
		"outcome unknown": {abi.Frame{Kind: 13}, "outcome unknown: the write may have been applied", storage.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.f.Err()
			if c.code == storage.OK {
				if e != nil {
					t.Fatal(e)
				}
				return
			}
			if e.Code != c.code || e.Error() != c.want || e.Unknown != strings.Contains(c.want, "may have been applied") {
				t.Errorf("%#v: %v", e, e)
			}
		})
	}
	if e := (&abi.Frame{Kind: 2, Message: conflict}).Err(); e.FailedCheck() != 2 {
		t.Errorf("the check is lost: %#v", e)
	}
}

func TestHeaderSent(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 256)
	entries := bytes.Repeat([]byte("vendor=12345678,"), 20) // 320 bytes, each entry 16 with its comma
	for name, c := range map[string]struct {
		sent, want abi.Header
	}{
		"nothing":           {},
		"all":               {abi.Header{Now: 1, Deadline: 2, Budget: 3, Traceparent: []byte("tp"), Tracestate: []byte("ts")}, abi.Header{Now: 1, Deadline: 2, Budget: 3, Traceparent: []byte("tp"), Tracestate: []byte("ts")}},
		"a time before all": {sent: abi.Header{Now: -1}},
		"deadline passed":   {abi.Header{Deadline: -5}, abi.Header{Deadline: 1}},
		"longest":           {abi.Header{Traceparent: long[:255], Tracestate: long[:255]}, abi.Header{Traceparent: long[:255], Tracestate: long[:255]}},
		"too long":          {sent: abi.Header{Traceparent: long, Tracestate: long}},
		"whole entries":     {abi.Header{Tracestate: entries}, abi.Header{Tracestate: entries[:255]}},
		"a comma too late":  {sent: abi.Header{Tracestate: append(bytes.Clone(long), ",a=b"...)}},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, err := abi.ReadFrame(mustFrame(t, &c.sent), 0)
			var got abi.Header
			if err == nil {
				err = got.Decode(f.Header)
			}
			if err != nil || got.Now != c.want.Now || got.Deadline != c.want.Deadline || got.Budget != c.want.Budget ||
				!bytes.Equal(got.Traceparent, c.want.Traceparent) || !bytes.Equal(got.Tracestate, c.want.Tracestate) {
				t.Errorf("it came as %+v, %v", got, err)
			}
		})
	}
}

func mustFrame(t *testing.T, h *abi.Header) []byte {
	t.Helper()
	b, err := abi.EndFrame(abi.BeginFrame(nil, 1, 1, h), 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeaderRead(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		code   storage.Code
		want   abi.Header
	}{
		"empty":             {"", storage.OK, abi.Header{}},
		"unknown tag":       {"c8 03 01 02 03 05 04 01 00 00 00", storage.OK, abi.Header{Budget: 1}},
		"empty unknown tag": {"00 00 ff 00", storage.OK, abi.Header{}},
		"the last counts":   {"05 04 01 00 00 00 05 04 02 00 00 00", storage.OK, abi.Header{Budget: 2}},
		"cut at the length": {"05", storage.Serialization, abi.Header{}},
		"cut in the value":  {"05 04 01 00 00", storage.Serialization, abi.Header{}},
		"now of 4 bytes":    {"01 04 01 00 00 00", storage.InvalidArgument, abi.Header{}},
		"negative now":      {"01 08 ff ff ff ff ff ff ff ff", storage.InvalidArgument, abi.Header{}},
		"negative deadline": {"02 08 00 00 00 00 00 00 00 80", storage.InvalidArgument, abi.Header{}},
		"empty deadline":    {"02 00", storage.InvalidArgument, abi.Header{}},
		"budget of 8 bytes": {"05 08 01 00 00 00 00 00 00 00", storage.InvalidArgument, abi.Header{}},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := hex.DecodeString(strings.ReplaceAll(c.header, " ", ""))
			got := abi.Header{Now: 99, Traceparent: []byte("of another call")}
			err := got.Decode(b)
			if storage.CodeOf(err) != c.code {
				t.Fatal(err)
			}
			if err == nil && (got.Now != 0 || got.Budget != c.want.Budget || got.Traceparent != nil) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestResults(t *testing.T) {
	for name, c := range map[string]struct {
		r      uint64
		ptr, n uint32
		isErr  bool
	}{
		"nothing":          {abi.PackResult(0, 0, false), 0, 0, false},
		"message":          {abi.PackResult(0x1000, 5, false), 0x1000, 5, false},
		"top of memory":    {abi.PackResult(0xFFFFFFFF, 0x7FFFFFFF, false), 0xFFFFFFFF, 0x7FFFFFFF, false},
		"error":            {abi.PackResult(0x1000, 5, true), 0x1000, 5, true},
		"bare":             {abi.PackCode(uint8(storage.NotFound)), 0, 1, true},
		"use call":         {abi.PackCode(abi.CodeUseCall), 0, 255, true},
		"longer than fits": {abi.PackResult(0x1000, 1<<31, false), 0, 9, true},
	} {
		t.Run(name, func(t *testing.T) {
			if ptr, n, isErr := abi.UnpackResult(c.r); ptr != c.ptr || n != c.n || isErr != c.isErr {
				t.Errorf("%#x is %#x, %d, %v", c.r, ptr, n, isErr)
			}
		})
	}
	if r := abi.PackResult(0x00012345, 0x67, true); r != 0x0001234580000067 {
		t.Errorf("%#x", r)
	}
}
