package frames_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

// When the connection is lost, a call reports whether the peer may have received the whole
// request: not if the peer has not read its last byte, and not if it was never written.
func TestSent(t *testing.T) {
	frame := func() int { // the size of a request below
		c := frames.Begin(1, nil)
		defer c.Free()
		return len(c.Frame) + len("request 0")
	}()
	for _, c := range []struct {
		name  string
		reads int // bytes, before the peer closes
		sent  [2]bool
	}{
		{"nothing is read", 0, [2]bool{true, false}}, // unknown for the first
		{"the first is read", frame, [2]bool{true, false}},
		{"the second is read but for a byte", 2*frame - 1, [2]bool{true, false}},
		{"all is read", 2 * frame, [2]bool{true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := pair(t)
			client := frames.NewClient(conn(t, ours), frames.ClientConfig{})
			defer client.Close()
			var sent [2]chan bool
			for i := range sent {
				sent[i] = make(chan bool, 1)
				go func() {
					_, s, err := ask(t.Context(), client, []byte{'r', 'e', 'q', 'u', 'e', 's', 't', ' ', byte('0' + i)})
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Errorf("%v", err)
					}
					sent[i] <- s
				}()
				for unreadBytes(t, theirs) < (i+1)*frame { // so that they are sent in order
				}
			}
			if _, err := io.ReadFull(theirs, make([]byte, c.reads)); err != nil {
				t.Fatal(err)
			}
			if err := theirs.Close(); err != nil {
				t.Fatal(err)
			}
			for i := range sent {
				if got := <-sent[i]; got != c.sent[i] {
					t.Errorf("request %d: sent is %v, want %v", i, got, c.sent[i])
				}
			}
			if _, s, err := ask(t.Context(), client, []byte("later")); s || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("a call over a lost connection: sent is %v, %v", s, err)
			}
		})
	}
}

// A call that is the first to notice that the connection is lost was not sent.
func TestNotSentOverALostConnection(t *testing.T) {
	ours, theirs := pair(t)
	client := frames.NewClient(conn(t, ours), frames.ClientConfig{})
	defer client.Close()
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if _, sent, err := ask(t.Context(), client, []byte("request")); sent || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("sent is %v, %v", sent, err)
	}
}

// unreadBytes returns how many bytes wait to be read.
func unreadBytes(t *testing.T, c *net.UnixConn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return n
}
