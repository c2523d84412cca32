package abi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

func FuzzOpen(f *testing.F)        { fuzzCodec(f, "Open") }
func FuzzInfo(f *testing.F)        { fuzzCodec(f, "Info") }
func FuzzGet(f *testing.F)         { fuzzCodec(f, "Get") }
func FuzzGetMany(f *testing.F)     { fuzzCodec(f, "GetMany") }
func FuzzQuery(f *testing.F)       { fuzzCodec(f, "Query") }
func FuzzWriteSet(f *testing.F)    { fuzzCodec(f, "WriteSet") }
func FuzzItem(f *testing.F)        { fuzzCodec(f, "Item") }
func FuzzItems(f *testing.F)       { fuzzCodec(f, "Items") }
func FuzzPage(f *testing.F)        { fuzzCodec(f, "Page") }
func FuzzChangeQuery(f *testing.F) { fuzzCodec(f, "ChangeQuery") }
func FuzzChangePage(f *testing.F)  { fuzzCodec(f, "ChangePage") }
func FuzzVersion(f *testing.F)     { fuzzCodec(f, "Version") }
func FuzzProbe(f *testing.F)       { fuzzCodec(f, "Probe") }
func FuzzHealth(f *testing.F)      { fuzzCodec(f, "Health") }

// fuzzCodec proves that both codecs accept the same bytes and read the same, and
// that none makes ours allocate more than it is worth.
func fuzzCodec(f *testing.F, name string) {
	c := codecNamed(f, name)
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		c.compare(t, b)
		dst := make([]byte, 0, 2*len(b)+4096)
		boundedBy(t, len(b), func() { _, _ = c.again(dst, b) })
	})
}

// addSeeds gives every target every message of SPEC.md, its own and others', and
// what no message holds.
func addSeeds(f *testing.F) {
	for name, b := range specExamples(f) {
		if frame, _, err := abi.ReadFrame(b, 0); err == nil && name != "open" && name != "info" {
			b = frame.Message
		}
		f.Add(b)
	}
	for _, b := range hostile {
		f.Add(b)
	}
}

// hostile is what no message holds, as far as a few bytes go.
var hostile = [][]byte{
	{}, {0}, {0x07}, {0x0B, 0x0C}, // no number, a group
	{0x0A}, {0x0A, 5, 'k'}, {0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, // cut, a length of all
	{0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02},   // 65 bits
	{0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},   // -1
	{0x8A, 0x00, 0x81, 0x00, 'k'},                                        // longer than it needs to be
	{0xF8, 0xFF, 0xFF, 0xFF, 0x0F, 1}, {0xF8, 0xFF, 0xFF, 0xFF, 0x1F, 1}, // the last number, and the one after it
	{0x0A, 0}, {0x0A, 0, 0x12, 0, 0x1A, 0}, {0x12, 2, 0x12, 0, 0x0A, 2, 0x0A, 0}, // empty, nested, not in order
	{0x0A, 1, 0xFF}, {0x0D, 1, 2, 3}, {0x09, 1}, {0x7D, 1, 2, 3, 4, 0x79, 1, 2, 3, 4, 5, 6, 7, 8},
	bytes.Repeat([]byte{0x0A, 0}, 200), bytes.Repeat([]byte{0x1A, 0}, 200),
}

// FuzzError proves that the decoder of errors takes everything, and reads what
// the generated one reads.
func FuzzError(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		e := abi.DecodeError(b)
		if e.Code == storage.OK || !e.Code.Known() {
			t.Fatalf("%x: it has the code %d", b, e.Code)
		}
		for _, s := range []string{e.Op, e.Layer, e.Msg, e.ConfigPath, e.Limit.Kind} {
			if len(s) > abi.MaxErrorText || !utf8.ValidString(s) {
				t.Fatalf("%x: the text %q", b, s)
			}
		}
		boundedBy(t, len(b), func() { abi.DecodeError(b) })
		again := abi.AppendError(nil, e)
		if got := abi.DecodeError(again); !reflect.DeepEqual(got, e) {
			t.Fatalf("%x: read as %+v, and that as %+v", b, e, got)
		}
		var m pb.Error
		err := proto.Unmarshal(b, &m)
		if err != nil && strings.Contains(err.Error(), "UTF-8") {
			return // ours mends texts
		}
		if err == nil {
			err = stricter(b, m.ProtoReflect().Descriptor())
		}
		if err != nil {
			if e.Code != storage.Internal || !strings.HasPrefix(e.Msg, "the answer's error could not be read: ") {
				t.Fatalf("%x: it is no Error (%v), and was read as %+v", b, err, e)
			}
			return
		}
		want := keptError(&m)
		if got := errorPB(e); !proto.Equal(got, want) {
			t.Fatalf("%x: read as %v, the schema says %v", b, got, want)
		}
	})
}

// keptError is what DecodeError keeps of an Error.
func keptError(m *pb.Error) *pb.Error {
	k := &pb.Error{Code: m.Code, Op: cut(m.Op), Layer: cut(m.Layer), Message: m.Message,
		RetryAfterMs: min(m.RetryAfterMs, longestWindow), Unknown: m.Unknown || m.Code == pb.Code_CODE_OUTCOME_UNKNOWN,
		Check: min(m.Check, math.MaxInt), ConfigPath: cut(m.ConfigPath)}
	if l := m.Limit; l.GetKind() != "" || l.GetMax() != 0 || l.GetActual() != 0 {
		k.Limit = &pb.Error_Limit{Kind: cut(l.Kind), Max: l.Max, Actual: l.Actual}
	}
	what := ""
	if m.Code == 0 {
		what = "an error without a code"
	} else if pb.Code_name[int32(m.Code)] == "" {
		what = fmt.Sprintf("the unknown error code %d", uint32(m.Code))
	}
	if what != "" {
		k.Code = pb.Code_CODE_INTERNAL
		if m.Message != "" {
			what += ": " + m.Message
		}
		k.Message = what
	}
	k.Message = cut(k.Message)
	return k
}

// cut is a text as far as an error keeps it.
func cut(s string) string {
	for len(s) > abi.MaxErrorText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// FuzzFrames proves that frames that were cut out of anything are within it and
// are put together again to the same bytes.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 1, 0, 0, 0}, 0)
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 1, 0, 0, 0}, 1<<40)
	f.Add([]byte{7, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0}, 0)
	f.Add([]byte{8, 0, 0, 0, 1, 2, 3, 4, 1, 0, 1, 0}, 0)
	f.Add([]byte{8, 0, 0, 0, 1, 2, 3, 4, 1, 9, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0}, 0)
	f.Add([]byte{10, 0, 0, 0, 1, 2, 3, 4, 1, 0, 2, 0, 1, 8}, 0)
	all := abi.Header{Now: 1, Deadline: 2, Budget: 3, Traceparent: []byte("00-1-2-01"), Tracestate: []byte("a=b")}
	whole, _ := abi.EndFrame(abi.AppendGet(abi.BeginFrame(nil, 7, uint8(abi.OpGet), &all), []byte("key")), 0)
	f.Add(whole, 0)
	f.Add(append(whole[:len(whole):len(whole)], whole...), len(whole))
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		rest := b
		for {
			frame, after, err := abi.ReadFrame(rest, most)
			if err != nil {
				refusedFrame(t, rest, after, most, err)
				if len(after) == len(rest) {
					return
				}
			}
			var h abi.Header
			if h.Decode(frame.Header) == nil {
				var again abi.Header
				head := abi.BeginFrame(nil, frame.ID, frame.Kind, &h)
				if err := again.Decode(head[12:]); err != nil || again.Now != h.Now || again.Deadline != h.Deadline ||
					again.Budget != h.Budget || !bytes.Equal(again.Traceparent, h.Traceparent) || !bytes.Equal(again.Tracestate, h.Tracestate) {
					t.Fatalf("%x: the header %+v came back as %+v, %v", b, h, again, err)
				}
			}
			if err == nil {
				again := binary.LittleEndian.AppendUint16(abi.BeginFrame(nil, frame.ID, frame.Kind, nil)[:10], uint16(len(frame.Header)))
				again = append(append(again, frame.Header...), frame.Message...)
				again, err = abi.EndFrame(again, 0)
				if err != nil || !bytes.Equal(again, rest[:len(rest)-len(after)]) {
					t.Fatalf("%x: put together again it is %x, %v", b, again, err)
				}
			}
			rest = after
		}
	})
}

// refusedFrame checks that a refusal is one of those that ReadFrame documents.
func refusedFrame(t *testing.T, b, after []byte, most int, err error) {
	t.Helper()
	if most <= 0 {
		most = abi.DefaultMaxFrame
	}
	size := abi.FrameSize(b)
	var e *storage.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		if size != 0 && size <= uint64(len(b)) || size > uint64(most) {
			t.Fatalf("%x: said to be cut, of size %d", b, size)
		}
	case !errors.As(err, &e):
		t.Fatalf("%x: an error of the wrong kind: %v", b, err)
	case e.Code == storage.SizeLimit && (size <= uint64(most) || e.Limit.Actual != int64(size) || e.Limit.Max != int64(most)):
		t.Fatalf("%x: %v", b, err)
	case e.Code == storage.Unsupported && uint64(len(b)-len(after)) != size:
		t.Fatalf("%x: what follows an unsupported frame is lost", b)
	}
}

// boundedBy fails t if f allocates more than an input of n bytes is worth: see
// [abi.MaxElements]. The rest of the process may allocate at the same time, so
// the least of a few runs counts.
func boundedBy(t *testing.T, n int, f func()) {
	t.Helper()
	worth := uint64(56*n + 16<<10)
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= worth {
			return
		}
	}
	t.Fatalf("an input of %d bytes allocated %d", n, least)
}
