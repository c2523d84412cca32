package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/server"
)

// peakHeap is by how much the heap grows while f runs, at most, garbage that is not
// collected yet included: it is collected early.
func peakHeap(f func()) (peak uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	debug.FreeOSMemory()
	read := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before := read()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Millisecond):
				if now := read(); now > before {
					peak = max(peak, now-before)
				}
			}
		}
	}()
	f()
	close(quit)
	<-done
	return peak
}

const memoryOfTests = 64 << 20

func withMemory(c *server.Config, s *server.Settings) { s.Memory = budget.New(memoryOfTests) }

// A few bytes that ask for one large value very often have it read once, and what is
// held of the answer is no more than the budget.
func TestRepeatsAreReadOnce(t *testing.T) {
	s := serve(t, withMemory)
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = 'x'
	}
	if err := s.store.Set(t.Context(), []byte("large"), value); err != nil {
		t.Fatal(err)
	}
	repeats, clients := 200, 4
	if testing.Short() { // the race detector's run
		repeats = 40
	}
	body := `{"keys":["large"` + strings.Repeat(`,"large"`, repeats-1) + `]}`
	peak := peakHeap(func() {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				r, err := http.Post("http://"+s.addr+"/v1/stores/s/get", "application/json", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Body.Close()
				if n, err := io.Copy(io.Discard, r.Body); err != nil || n < int64(repeats)<<20 {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
		}
		all.Wait()
	})
	if peak > memoryOfTests {
		t.Errorf("%d MiB were held", peak>>20)
	}
}

// halfSent are uploads of 1 MiB of which so much is sent.
func halfSent(t *testing.T, s *served, n, bytes int) {
	body := make([]byte, bytes) // one for all: what callers hold is not the server's
	for i := range n {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "PUT /v1/stores/s/keys/half%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", i, 1<<20)
		go c.Write(body) // some of it may stay on the way
	}
}

// uploaded puts a value of 3 MiB, and does so again where it is told to come back later.
func (s *served) uploaded(t *testing.T, within time.Duration) (status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.addr+"/v1/stores/s/keys/k", strings.NewReader(strings.Repeat("x", 3<<20)))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
			return answer.StatusCode
		}
	}
}

// Uploads that are never finished keep nobody out: neither by their number nor by what
// they have sent.
func TestHalfSentUploads(t *testing.T) {
	for name, c := range map[string]struct{ n, bytes int }{"many": {300, 1000}, "large": {100, 900 << 10}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(c *server.Config, set *server.Settings) {
				withMemory(c, set)
				c.MaxConcurrent = 32
			})
			peak := peakHeap(func() {
				halfSent(t, s, c.n, c.bytes)
				for deadline := time.Now().Add(5 * time.Second); s.memory.Stats().Used < min(memoryOfTests/2, int64(c.n)*16<<10); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("only %d bytes have arrived", s.memory.Stats().Used)
					}
				}
				if status := s.uploaded(t, 10*time.Second); status != http.StatusNoContent {
					t.Errorf("a whole upload beside them: %d", status)
				}
			})
			if peak > memoryOfTests*3/2 {
				t.Errorf("%d MiB were held", peak>>20)
			}
		})
	}
}

// Probes are answered, whatever is held, and others are told when to come again.
func TestNoMemory(t *testing.T) {
	s := serve(t, withMemory)
	for i := range 4 {
		a := s.memory.Open(i)
		defer a.Close()
		if err := a.Take(t.Context(), memoryOfTests/4); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/v1/stores/s/keys/k": 503} {
		r, err := http.Get("http://" + s.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want || (want == 503) != (r.Header.Get("Retry-After") != "") {
			t.Errorf("%s: %s, Retry-After %q", path, r.Status, r.Header.Get("Retry-After"))
		}
	}
	if n := s.memory.Stats().Waiting; n != 0 {
		t.Errorf("%d still wait", n)
	}
}
