package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
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

// uploaded puts a value of 3 MiB, and does so again when the server asks it to come back later.
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

// Uploads that are never finished keep no other caller out: neither by their number nor by what
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

// heavy holds one large item between two small ones, which it makes anew for each read,
// and reports whether the last large one is still referenced.
type heavy struct {
	storage.UnimplementedBackend
	last *atomic.Pointer[weak.Pointer[byte]]
}

func (heavy) Info() storage.Info {
	return storage.Info{Name: "heavy", Version: "1", Caps: storage.CapOrdered | storage.CapReverse}
}

func (h heavy) Get(context.Context, []byte) (storage.Item, error) {
	value := bytes.Repeat([]byte("x"), 5<<20)
	last := weak.Make(&value[0])
	h.last.Store(&last)
	return storage.Item{Key: []byte("large"), Value: value}, nil
}

func (h heavy) GetMany(ctx context.Context, _ [][]byte) ([]storage.Item, error) {
	it, err := h.Get(ctx, nil)
	return []storage.Item{it}, err
}

func (h heavy) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	large, err := h.Get(ctx, nil)
	all := []storage.Item{{Key: nil, Value: []byte("first")}, large, {Key: []byte("small"), Value: []byte("x")}}
	if q.Reverse {
		slices.Reverse(all)
	}
	var page storage.Page
	for _, it := range all { // one a page
		if storage.InRange(it.Key, q.Start, q.End) {
			page.Items = []storage.Item{it}
			if page.Next = storage.After(it.Key); q.Reverse {
				page.Next = append([]byte{}, it.Key...)
			}
			return page, err
		}
	}
	return page, err
}

func serveHeavy(t *testing.T) (*served, *atomic.Pointer[weak.Pointer[byte]]) {
	last := new(atomic.Pointer[weak.Pointer[byte]])
	return serve(t, func(c *server.Config, s *server.Settings) {
		withMemory(c, s)
		s.Stores["s"] = storage.New(heavy{last: last}, storage.Settings{})
	}), last
}

// What was read and has no room is not kept while room is waited for: whether it is an item,
// several, or a page.
func TestWhatHasNoRoomIsNotKept(t *testing.T) {
	for _, path := range []string{"/keys/large", "/get", "/keys", "/keys/large?touch=true"} {
		s, last := serveHeavy(t)
		for i := range 4 { // there is room for the request, and for no such item
			a := s.memory.Open(i)
			defer a.Close()
			if err := a.Take(t.Context(), memoryOfTests/4-1<<20); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan answer, 1)
		go func() {
			switch path {
			case "/get":
				ended <- s.json(path, `{"keys":["large"]}`)
			case "/keys/large?touch=true":
				ended <- s.raw("POST "+base+path, "")
			default:
				ended <- s.get(path)
			}
		}()
		dropped := func() bool {
			p := last.Load()
			runtime.GC()
			return p != nil && p.Value() == nil
		}
		for !dropped() {
			select {
			case a := <-ended:
				t.Fatalf("%s: it was kept until the request ended: %d", path, a.status)
			case <-time.After(5 * time.Millisecond):
			}
		}
		if a := <-ended; a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, want 503 with a time to try again: %s", path, a.status, a.body)
		}
	}
}

// A scan that has to look again at a large item leaves nothing out and repeats nothing, and
// what was seen once keeps no scan out.
func TestScansOfLargeItems(t *testing.T) {
	s, _ := serveHeavy(t)
	for range 3 {
		for query, want := range map[string]string{
			"":                      " large small",
			"?reverse=true":         "small large ",
			"?limit=2":              " large",
			"?reverse=true&limit=2": "small large",
			"?start=l":              "large small",
			"?start=l&limit=1":      "large",
		} {
			a := s.must(s.get("/keys"+query), 200)
			var keys []string
			for line := range strings.Lines(a.body) {
				var it struct{ Key string }
				if err := json.Unmarshal([]byte(line), &it); err != nil {
					t.Fatal(err)
				}
				keys = append(keys, it.Key)
			}
			if got := strings.Join(keys, " "); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
	}
}

// Probes, metrics and administration are answered, whatever is held, and others are
// refused with a time to come again.
func TestNoMemory(t *testing.T) {
	well := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s := serve(t, func(c *server.Config, set *server.Settings) {
		withMemory(c, set)
		set.Metrics, set.Admin = well, well
	})
	for i := range 4 {
		a := s.memory.Open(i)
		defer a.Close()
		if err := a.Take(t.Context(), memoryOfTests/4); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200, "/metrics": 200, "/v1/admin/status": 200, "/v1/stores/s/keys/k": 503} {
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
