package frames_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
)

// socketpair is pair, faster.
func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	t.Cleanup(func() { ends[0].Close(); ends[1].Close() })
	return ends[0], ends[1]
}

// within ends a test that hangs, which is what these look for.
func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s goes on after 20 s", what)
	}
}

// Whatever a host sends, in whatever pieces, a server answers or ends, and never
// sends what is not frames.
func FuzzServer(f *testing.F) {
	frame := func(kind abi.Op, h *abi.Header, message string) []byte {
		b, _ := abi.EndFrame(append(abi.BeginFrame(nil, 7, uint8(kind), h), message...), 0)
		return b
	}
	f.Add([]byte{}, uint16(0), true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(1), false)
	f.Add(frame(abi.OpGet, &abi.Header{Now: 1, Deadline: 1, Budget: 5}, "wait"), uint16(3), true)
	f.Add(append(frame(abi.OpGet, nil, "wait"), frame(abi.OpCancel, nil, "")...), uint16(20), true)
	f.Add(append(frame(abi.OpGet, nil, "fail"), frame(abi.OpApply, nil, "key")...), uint16(0), false)
	f.Fuzz(func(t *testing.T, sent []byte, cut uint16, workers bool) {
		ours, theirs := socketpair(t)
		c := frames.ServerConfig{New: func() frames.Answerer { return echo{new(atomic.Int32)} }, MaxFrame: 1 << 16}
		if workers {
			c.Workers = 2
		} else if bytes.Contains(sent, []byte("wait")) {
			return // one who answers inline waits for nothing
		}
		there := conn(t, theirs)
		done := make(chan struct{})
		go func() { defer close(done); _ = frames.Serve(there, c) }()
		var answers []byte
		read := make(chan struct{})
		go func() { defer close(read); answers, _ = io.ReadAll(ours) }()
		at := min(int(cut), len(sent))
		_, _ = ours.Write(sent[:at])
		_, _ = ours.Write(sent[at:])
		_ = ours.CloseWrite()
		within(t, "the server", done)
		within(t, "the reader", read)
		for len(answers) > 0 {
			_, rest, err := abi.ReadFrame(answers, 1<<17)
			if err != nil {
				if err != io.ErrUnexpectedEOF { // it may have ended meanwhile
					t.Fatalf("an answer cannot be read: %v", err)
				}
				return
			}
			answers = rest
		}
	})
}

// Whatever a peer answers, each call ends, with the answer or an error, and the client
// can be closed. The first bytes of an answer are the ids of calls, where the input says so.
func FuzzClientAnswers(f *testing.F) {
	answer := func(code uint8, message string) []byte {
		b, _ := abi.EndFrame(append(abi.BeginFrame(nil, 0, code, nil), message...), 0)
		return b
	}
	f.Add([]byte{}, uint8(1), uint8(0))
	f.Add(answer(0, "value"), uint8(1), uint8(1))
	f.Add(append(answer(0, ""), answer(5, "\x0a\xff")...), uint8(2), uint8(2))
	f.Add(append(answer(0, "a"), answer(0, "b")...), uint8(1), uint8(2))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, uint8(3), uint8(0))
	f.Add(answer(0, "late"), uint8(0x82), uint8(1))
	f.Fuzz(func(t *testing.T, sent []byte, callers, patched uint8) {
		ours, theirs := socketpair(t)
		c := frames.NewClient(conn(t, ours), frames.ClientConfig{MaxFrame: 1 << 16, Cancels: true})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		n := int(callers&7) + 1
		var asking sync.WaitGroup
		for i := range n {
			asking.Go(func() {
				mine := context.Background()
				if i%2 == 1 {
					mine = ctx
				}
				_, _, _ = ask(mine, c, []byte("key"))
			})
		}
		requests := make([]byte, 15*n)
		if _, err := io.ReadFull(theirs, requests); err != nil {
			t.Fatal(err)
		}
		if callers >= 0x80 {
			cancel()
		}
		for i, rest := 0, sent; i < min(int(patched), n) && len(rest) >= 8; i++ {
			copy(rest[4:8], requests[15*i+4:])
			size := uint64(binary.LittleEndian.Uint32(rest)) + 4
			rest = rest[min(size, uint64(len(rest))):]
		}
		_, _ = theirs.Write(sent)
		_ = theirs.CloseWrite()
		done := make(chan struct{})
		go func() { defer close(done); asking.Wait(); c.Close() }()
		within(t, "a call", done)
	})
}
