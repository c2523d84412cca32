package frames_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

// When the connection ends, so do the calls on it.
func TestConnectionEnds(t *testing.T) {
	for name, more := range map[string]int{"under way": 0, "waiting": 5} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			ended := new(atomic.Int32)
			there := conn(t, theirs)
			over := make(chan error, 1)
			go func() {
				over <- frames.Serve(there, frames.ServerConfig{New: func() frames.Answerer { return echo{ended} }, Workers: 2})
			}()
			for i := range 2 + more {
				b := append(abi.BeginFrame(nil, uint32(i), uint8(abi.OpGet), nil), "wait"...)
				b, _ = abi.EndFrame(b, 0)
				if _, err := ours.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
			ours.Close()
			select {
			case <-over:
			case <-time.After(10 * time.Second):
				t.Error("it goes on")
			}
			if n := ended.Load(); n != 2 {
				t.Errorf("%d calls have ended, want the two that were begun", n)
			}
		})
	}
}

// A peer that takes what it is sent, but slowly, is waited for.
func TestPeerThatReadsSlowly(t *testing.T) {
	ours, theirs := pair(t)
	c := frames.NewClient(conn(t, ours), frames.ClientConfig{Patience: 300 * time.Millisecond})
	defer c.Close()
	large := make([]byte, 3<<20)
	go func() {
		request := make([]byte, 12+len(large))
		for rest := request; len(rest) > 0; { // it takes some three times as long as the patience
			time.Sleep(50 * time.Millisecond)
			n, err := io.ReadFull(theirs, rest[:min(len(rest), 160<<10)])
			if err != nil {
				return
			}
			rest = rest[n:]
		}
		answer := abi.BeginFrame(nil, binary.LittleEndian.Uint32(request[4:]), 0, nil)
		answer, _ = abi.EndFrame(answer, 0)
		_, _ = theirs.Write(answer)
	}()
	if _, _, err := ask(t.Context(), c, large); err != nil {
		t.Error(err)
	}
}

// Peers that do not keep to the protocol: the connection ends, each caller hears
// why, and nothing is left behind.
func TestBadPeers(t *testing.T) {
	answer := func(id uint32, size uint32) []byte {
		b := abi.BeginFrame(nil, id, 0, nil)
		binary.LittleEndian.PutUint32(b, size)
		return b
	}
	for name, p := range map[string]struct {
		reply func(id uint32) []byte
		want  string
	}{
		"another id":      {func(id uint32) []byte { return answer(id+1, 8) }, "unknown or already answered"},
		"an old id":       {func(id uint32) []byte { return answer(id-1<<16, 8) }, "unknown or already answered"},
		"twice":           {func(id uint32) []byte { return append(answer(id, 8), answer(id, 8)...) }, ""},
		"4 GiB":           {func(id uint32) []byte { return answer(id, 1<<32-1) }, "limit is 1048576"},
		"too short":       {func(id uint32) []byte { return answer(id, 3) }, "shorter than a frame's head"},
		"flags":           {func(id uint32) []byte { b := answer(id, 8); b[9] = 1; return b }, "unknown flags"},
		"half an answer":  {func(id uint32) []byte { return answer(id, 100) }, "EOF"},
		"no answer":       {func(uint32) []byte { return nil }, "EOF"},
		"garbage":         {func(uint32) []byte { return bytes.Repeat([]byte("garbage "), 10) }, "limit is 1048576"},
		"a cut error":     {func(id uint32) []byte { b := append(answer(id, 10), 0x0a, 0xff); b[8] = 5; return b }, "could not be read"},
		"a header beyond": {func(id uint32) []byte { b := answer(id, 8); b[10] = 200; return b }, "a header of 200 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			over := make(chan error, 1)
			c := frames.NewClient(conn(t, ours), frames.ClientConfig{MaxFrame: 1 << 20, Ended: func(err error) { over <- err }})
			defer c.Close()
			go func() {
				request := make([]byte, 12+3)
				if _, err := theirs.Read(request); err == nil {
					theirs.Write(p.reply(binary.LittleEndian.Uint32(request[4:])))
				}
				theirs.Close()
			}()
			_, sent, err := ask(t.Context(), c, []byte("key"))
			if name == "twice" { // the second is noticed with the first, or later
				_, _, err = ask(t.Context(), c, []byte("key"))
			} else if !sent {
				t.Error("the request counts as not sent")
			}
			if err == nil || !strings.Contains(err.Error(), p.want) {
				t.Errorf("%v, want %q", err, p.want)
			}
			if name == "a cut error" {
				return
			}
			select {
			case <-over:
			case <-time.After(10 * time.Second):
				t.Error("no call was told that the connection is over")
			}
			if _, sent, err := ask(t.Context(), c, []byte("key")); sent || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("afterwards: sent %v, %v", sent, err)
			}
		})
	}
}

// A peer that reads nothing delays no call for longer than it may, and those who
// leave may leave.
func TestPeerThatDoesNotRead(t *testing.T) {
	ours, _ := pair(t)
	c := frames.NewClient(conn(t, ours), frames.ClientConfig{Patience: 300 * time.Millisecond})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	large := make([]byte, 4<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			mine := t.Context()
			if i%2 == 0 {
				mine = ctx
			}
			if _, _, err := ask(mine, c, large); !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What a host sends is as little believed: the server ends, and does not panic.
func TestBadHosts(t *testing.T) {
	for name, sent := range map[string][]byte{
		"4 GiB": {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0}, "too short": {3, 0, 0, 0, 0, 0, 0, 0}, "cut": {20, 0, 0, 0, 1}, "nothing": nil,
	} {
		for _, workers := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s, %d workers", name, workers), func(t *testing.T) {
				ours, theirs := pair(t)
				there := conn(t, theirs)
				done := make(chan error, 1)
				go func() {
					done <- frames.Serve(there, frames.ServerConfig{New: func() frames.Answerer { return echo{} }, Workers: workers, MaxFrame: 1 << 20})
				}()
				ours.Write(sent)
				if name == "cut" || name == "nothing" {
					ours.Close()
				}
				select {
				case err := <-done:
					if (err == nil) != (name == "cut" || name == "nothing") {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Error("it goes on")
				}
			})
		}
	}
}
