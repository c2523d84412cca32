package ledger

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// What gRPC says of details that are not its own is read back, whatever the message.
func FuzzMismatch(f *testing.F) {
	for _, message := range []string{"", "not the leader", "a \"quoted\", one", "grpc-status-details-bin=x", "é\n\x00", "\xff"} {
		f.Add(uint32(14), message)
	}
	f.Add(uint32(0), "none")
	f.Add(uint32(99), "unknown")
	f.Fuzz(func(t *testing.T, code uint32, message string) {
		c := codes.Code(code % 20)
		text := fmt.Sprintf("grpc-status-details-bin mismatch: grpc-status=%v, grpc-message=%q, grpc-status-details-bin=%+v", c, message, "whatever")
		got, said, ok := mismatch(text)
		if known := c >= codes.Canceled && c <= codes.Unauthenticated; ok != known || ok && (got != c || said != message) {
			t.Errorf("%q is read as %s %q %t", text, got, said, ok)
		}
		mismatch(message) // anything else does no harm
	})
}

// Where gRPC words it otherwise one day, the server's own number says enough.
func TestNumbersStandIn(t *testing.T) {
	for number, want := range map[string]codes.Code{
		"2000": codes.Unavailable, "2001": codes.Unavailable, "3004": codes.Unavailable, "3100": codes.NotFound, "3101": codes.NotFound,
		"3103": codes.FailedPrecondition, "3104": codes.AlreadyExists, "3106": codes.FailedPrecondition, "3203": codes.InvalidArgument,
		"3205": codes.ResourceExhausted, "3204": codes.Internal, "1101": codes.Internal, "x": codes.Internal,
	} {
		raw, err := proto.Marshal(&ledgerpb.ErrorDetails{ErrorCode: number})
		if err != nil {
			t.Fatal(err)
		}
		code, _, details := recovered(status.Error(codes.Internal, "other words"), metadata.MD{detailsTrailer: {string(raw)}})
		if code != want || details.GetErrorCode() != number {
			t.Errorf("%s is %s, want %s", number, code, want)
		}
	}
	for name, md := range map[string]metadata.MD{"nothing": nil, "no message": {detailsTrailer: {"\xff\xff"}}, "two": {detailsTrailer: {"", ""}}, "empty": {detailsTrailer: {""}}} {
		if code, message, details := recovered(status.Error(codes.Internal, "own"), md); code != codes.Internal || message != "own" || details != nil {
			t.Errorf("%s: %s %q %v", name, code, message, details)
		}
	}
}

// Endpoints come out of configurations, and out of what servers hint at.
func FuzzEndpoint(f *testing.F) {
	for _, e := range []string{"http://127.0.0.1:50051", "https://ledger.example", "/run/ledger.sock", "http://[::1]:1", "http://", "http://u:p@h", "http://a b", "//x", "\x00", "http://h:99999999"} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, e string) {
		a, err := parseEndpoint(e)
		if err != nil {
			if len(e) > 12 && strings.Contains(err.Error(), e) {
				t.Errorf("the error repeats the endpoint: %v", err)
			}
			return
		}
		if a.dial == "" || a.host == "" || a.network != "tcp" && a.network != "unix" || strings.Contains(a.name, "@") && a.network == "tcp" {
			t.Errorf("%q is %+v", e, a)
		}
		again, err := parseEndpoint(a.name)
		if err != nil || again != a {
			t.Errorf("%q is %+v, and that %+v, %v", e, a, again, err)
		}
	})
}

// Every key is covered by exactly the part that its first digits say, and no prefix
// is empty: that would list what is the server's own.
func FuzzCover(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), false, []byte("ab"))
	f.Add([]byte(nil), []byte{0}, false, []byte{0})
	f.Add([]byte{}, []byte{0x10}, false, []byte{0x0f})
	f.Add([]byte{0xff}, []byte(nil), true, []byte{0xff, 0xff})
	f.Add([]byte{0x12, 0x34}, []byte{0x12, 0x35}, false, []byte{0x12, 0x34, 0})
	f.Fuzz(func(t *testing.T, start, end []byte, open bool, key []byte) {
		if open {
			end = nil
		} else if end == nil {
			end = []byte{}
		}
		parts := cover(start, end)
		n := 0
		for i, p := range parts {
			if p.prefix == "" {
				t.Fatal("a prefix is empty")
			}
			if i > 0 && p.prefix <= parts[i-1].prefix {
				t.Fatalf("the parts are not in order: %v", parts)
			}
			if strings.HasPrefix(entityKey(key), p.prefix) {
				n++
			}
		}
		if in := len(key) > 0 && len(key) <= maxKey && storage.InRange(key, start, end); in && n != 1 || n > 1 {
			t.Fatalf("the key is in %d parts of %v", n, parts)
		}
	})
}
