package frames_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the two ends of a connection.
func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func conn(t testing.TB, c *net.UnixConn) *frames.Conn {
	t.Helper()
	conn, err := frames.NewConn(c)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// echo answers with the request, after what the request says in front: "slow",
// "wait" until the call ends, or "fail".
type echo struct{ ended *atomic.Int32 }

func (e echo) Answer(ctx context.Context, dst []byte, f abi.Frame, budget int) []byte {
	text := string(f.Message)
	switch {
	case strings.HasPrefix(text, "slow"):
		time.Sleep(time.Millisecond)
	case strings.HasPrefix(text, "wait"):
		<-ctx.Done()
		e.ended.Add(1)
	case strings.HasPrefix(text, "fail"):
		return e.Refuse(dst, f.ID, storage.Errorf(storage.NoSpace, "full"))
	}
	start := len(dst)
	dst = append(abi.BeginFrame(dst, f.ID, uint8(storage.OK), nil), f.Message...)
	dst, _ = abi.EndFrame(dst, start)
	return dst
}

func (e echo) Refuse(dst []byte, id uint32, err error) []byte {
	start := len(dst)
	dst = abi.AppendError(abi.BeginFrame(dst, id, uint8(storage.CodeOf(err)), nil), storage.AsError(err))
	dst, _ = abi.EndFrame(dst, start)
	return dst
}

// serve is a client of a server with so many workers.
func serve(t testing.TB, workers int, c frames.ClientConfig) (*frames.Client, *atomic.Int32) {
	t.Helper()
	ours, theirs := pair(t)
	ended := new(atomic.Int32)
	served := make(chan error, 1)
	there := conn(t, theirs)
	go func() {
		served <- frames.Serve(there, frames.ServerConfig{New: func() frames.Answerer { return echo{ended} }, Workers: workers, MaxFrame: 8 << 20})
	}()
	c.MaxFrame = 8 << 20
	client := frames.NewClient(conn(t, ours), c)
	t.Cleanup(func() {
		client.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client, ended
}

func ask(ctx context.Context, c *frames.Client, message []byte) (answer []byte, sent bool, err error) {
	call := frames.Begin(abi.OpGet, nil)
	call.Frame = append(call.Frame, message...)
	sent, err = c.Do(ctx, call)
	answer = call.Message
	call.Free()
	return answer, sent, err
}

// Whatever many callers do at once, calls of all sizes, slow ones, failing ones,
// those that are left, each gets the answer to its own.
func TestManyCallers(t *testing.T) {
	rounds := 50
	if raceEnabled { // it takes ten times as long there
		rounds = 15
	}
	for _, workers := range []int{0, 1, 8} {
		for _, calls := range []int{4, 1024} {
			t.Run(fmt.Sprintf("%d workers, %d calls", workers, calls), func(t *testing.T) {
				c, _ := serve(t, workers, frames.ClientConfig{Calls: calls, Cancels: true})
				var wg sync.WaitGroup
				var left, answered atomic.Int32
				for i := range 32 {
					wg.Go(func() {
						r := rand.New(rand.NewPCG(uint64(i), 1))
						for n := range rounds {
							kind := []string{"quick", "quick", "quick", "slow", "fail"}[r.IntN(5)]
							size := []int{0, 10, 1000, 100_000}[r.IntN(4)]
							if r.IntN(100) == 0 {
								size = 3 << 20
							}
							message := append(fmt.Appendf(nil, "%s %d %d ", kind, i, n), bytes.Repeat([]byte{byte(n)}, size)...)
							ctx, cancel := context.Background(), func() {}
							if r.IntN(4) == 0 {
								ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
							}
							got, _, err := ask(ctx, c, message)
							switch {
							case err != nil && ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded):
								left.Add(1)
							case kind == "fail":
								if !errors.Is(err, storage.ErrNoSpace) {
									t.Errorf("%v, want that there is no space", err)
								}
							case err != nil || !bytes.Equal(got, message):
								t.Errorf("%d bytes, %v, want %d", len(got), err, len(message))
							default:
								answered.Add(1)
							}
							cancel()
						}
					})
				}
				wg.Wait()
				if left.Load() == 0 || answered.Load() < 100 {
					t.Errorf("%d calls were left and %d answered: the test says too little", left.Load(), answered.Load())
				}
				if got, _, err := ask(t.Context(), c, []byte("after")); err != nil || string(got) != "after" {
					t.Errorf("after all of them: %q, %v", got, err)
				}
				deadline := time.Now().Add(10 * time.Second)
				for c.InFlight() > 0 && time.Now().Before(deadline) {
					time.Sleep(time.Millisecond)
				}
				if n := c.InFlight(); n > 0 {
					t.Errorf("%d calls are still under way", n)
				}
			})
		}
	}
}

// A call that is left ends at the other side too, where that can be, alone or not.
func TestCancel(t *testing.T) {
	c, ended := serve(t, 4, frames.ClientConfig{Cancels: true})
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range i + 1 {
			wg.Go(func() {
				if _, sent, err := ask(ctx, c, []byte("wait")); !sent || !errors.Is(err, context.Canceled) {
					t.Errorf("sent %v, %v", sent, err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond) // they are under way
		cancel()
		wg.Wait()
		want := int32((i + 1) * (i + 2) / 2)
		for deadline := time.Now().Add(10 * time.Second); ended.Load() < want && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if ended.Load() != want {
			t.Fatalf("%d calls have ended there, want %d", ended.Load(), want)
		}
	}
	if got, _, err := ask(t.Context(), c, []byte("next")); err != nil || string(got) != "next" {
		t.Errorf("%q, %v", got, err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, sent, err := ask(done, c, []byte("never")); sent || !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose caller has left: sent %v, %v", sent, err)
	}
}

// A peer whose workers are all busy still hears that callers have left: it is not
// the next request that waits for a worker which keeps those who could end it away.
func TestCancelWhenAllAreBusy(t *testing.T) {
	c, ended := serve(t, 2, frames.ClientConfig{Cancels: true})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := ask(ctx, c, []byte("wait")); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	eventually(t, "all are sent", func() bool { return c.InFlight() == 20 })
	time.Sleep(20 * time.Millisecond) // two are with workers
	cancel()
	wg.Wait()
	eventually(t, "all were answered", func() bool { return c.InFlight() == 0 })
	if ended.Load() < 2 {
		t.Error("no worker was busy: the test says nothing")
	}
}

// The time that a call has begins when it comes, not when a worker is free.
func TestDeadlineInTheQueue(t *testing.T) {
	c, _ := serve(t, 1, frames.ClientConfig{})
	var wg sync.WaitGroup
	start := time.Now()
	for range 20 {
		wg.Go(func() {
			call := frames.Begin(abi.OpGet, &abi.Header{Deadline: 200})
			call.Frame = append(call.Frame, "wait"...)
			if _, err := c.Do(t.Context(), call); err != nil && !errors.Is(err, storage.ErrTimeout) {
				t.Error(err)
			}
			call.Free()
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 2*time.Second { // one after the other they take 4 s
		t.Errorf("it took %s", took)
	}
}

// A caller who reads for others leaves when it wants to, also while there is always
// more to read.
func TestReaderLeaves(t *testing.T) {
	ours, theirs := pair(t)
	c := frames.NewClient(conn(t, ours), frames.ClientConfig{})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, _, err := ask(ctx, c, []byte("first")); left <- err }()
	request := make([]byte, 17)
	if _, err := io.ReadFull(theirs, request); err != nil {
		t.Fatal(err)
	}
	// A frame that comes bit by bit, as fast as it is read.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		head := abi.BeginFrame(nil, binary.LittleEndian.Uint32(request[4:]), 0, nil)
		binary.LittleEndian.PutUint32(head, 60<<20)
		_, _ = theirs.Write(head)
		for part := make([]byte, 1<<20); ; {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := theirs.Write(part); err != nil {
				return
			}
		}
	}()
	cancel()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it cannot leave")
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 10 s it is not so that %s", what)
		}
	}
}

// A call allocates its answer and nothing else, with one caller or several.
func TestAllocations(t *testing.T) {
	c, _ := serve(t, 0, frames.ClientConfig{})
	key := []byte("key")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 100 {
		ask(ctx, c, key)
	}
	if n := testing.AllocsPerRun(1000, func() { ask(context.Background(), c, key) }); n > 1 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

// What a call costs, with both sides in this process.
func BenchmarkDo(b *testing.B) {
	for _, workers := range []int{0, 8} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%d workers, %d callers", workers, callers), func(b *testing.B) {
				c, _ := serve(b, workers, frames.ClientConfig{})
				key := []byte("key")
				var asking sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for i := range callers {
					asking.Go(func() {
						for range (b.N + i) / callers {
							if _, _, err := ask(context.Background(), c, key); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				asking.Wait()
			})
		}
	}
}
