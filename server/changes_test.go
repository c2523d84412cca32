package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// serveChanges is serve with a store whose changes a hub keeps.
func serveChanges(t *testing.T, edit func(*server.Config)) (*served, *storage.Store) {
	t.Helper()
	hub := wrappers.NewHub(memory.New(memory.DefaultConfig(), sdk.Env{}))
	hub.KeepChanges(time.Now)
	store := storage.New(hub.Backend(), storage.Settings{})
	s := serve(t, func(c *server.Config, set *server.Settings) {
		set.Stores = map[string]*storage.Store{"s": store, "without": storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})}
		set.Memory = server.NewMemory(0)
		if edit != nil {
			edit(c)
		}
	})
	return s, store
}

func (s *served) ask(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header = header
	return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
}

// page is a page of changes, and the version to continue from.
func (s *served) page(query string) (lines []string, next string, res *http.Response) {
	s.t.Helper()
	res, err := s.ask(s.t.Context(), "/v1/stores/s/changes"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), res.Header.Get("Plinth-Next"), res
}

func TestChangesAsPages(t *testing.T) {
	s, store := serveChanges(t, nil)
	lines, now, _ := s.page("")
	if want := fmt.Sprintf(`{"next":"%s"}`, now); len(lines) != 1 || lines[0] != want || now == "" {
		t.Fatalf("from now it is %q, want %q", lines, want)
	}
	v, _ := store.Put(t.Context(), []byte("a/1"), []byte("x\xff"))
	w, _ := store.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("b"), []byte("y")), storage.Delete([]byte("a/1")), storage.DeleteRange([]byte("a"), nil)}})
	lines, next, _ := s.page("?after=" + now)
	want := []string{
		fmt.Sprintf(`{"change":"put","key":"a/1","value64":"eP8=","version":"%d"}`, v),
		fmt.Sprintf(`{"change":"put","key":"b","value":"y","version":"%d"}`, w),
		fmt.Sprintf(`{"change":"delete","key":"a/1","version":"%d"}`, w),
		fmt.Sprintf(`{"change":"delete_range","key":"a","version":"%d"}`, w),
		fmt.Sprintf(`{"next":"%d"}`, w)}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") || next != fmt.Sprint(w) {
		t.Errorf("%s\nnext %s, want\n%s", strings.Join(lines, "\n"), next, strings.Join(want, "\n"))
	}
	if lines, _, _ := s.page("?prefix=a/&after=" + now); len(lines) != 4 || !strings.Contains(lines[2], `"key":"a/","end":"a0"`) {
		t.Errorf("of a prefix it is %q", lines)
	}
	if lines, next, _ := s.page("?limit=1&after=" + now); len(lines) != 2 || next != fmt.Sprint(v) {
		t.Errorf("one at a time it is %q, next %s", lines, next)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		store.Set(context.Background(), []byte("c"), nil)
	}()
	if lines, _, _ := s.page(fmt.Sprintf("?wait=10s&prefix=c&after=%d", w)); len(lines) != 2 || !strings.Contains(lines[0], `"key":"c"`) {
		t.Errorf("waited for it is %q", lines)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	s, _ := serveChanges(t, nil)
	for _, c := range []struct {
		path, accept string
		status       int
	}{
		{"s/changes?after=0", "", 410}, {"s/changes?after=18446744073709551615", "", 410}, {"s/changes?after=0", "text/event-stream", 410},
		{"s/changes?after=-1", "", 400}, {"s/changes?after=x", "", 400}, {"s/changes?after=99999999999999999999", "", 400},
		{"s/changes?wait=-5s", "", 400}, {"s/changes?wait=5", "", 400}, {"s/changes?limit=0", "", 400}, {"s/changes?limit=-1", "", 400},
		{"s/changes?from=scan", "", 400}, {"s/changes?from=then", "text/event-stream", 400}, {"s/changes?since=1", "", 400},
		{"without/changes", "", 501}, {"without/changes", "text/event-stream", 501},
	} {
		res, err := s.ask(t.Context(), "/v1/stores/"+c.path, http.Header{"Accept": {c.accept}})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if res.Body.Close(); res.StatusCode != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.path, c.accept, res.StatusCode, b, c.status)
		}
	}
}

// events reads a stream.
type events struct {
	res *http.Response
	r   *bufio.Reader
	id  string // of the latest event
}

func (s *served) follow(ctx context.Context, query, last string) *events {
	s.t.Helper()
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header.Set("Last-Event-Id", last)
	}
	res, err := s.ask(ctx, "/v1/stores/s/changes"+query, header)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("X-Accel-Buffering") != "no" {
		s.t.Fatalf("%d, %v", res.StatusCode, res.Header)
	}
	return &events{res: res, r: bufio.NewReader(res.Body)}
}

// next is the data of the next event that has some; an error, if there is none.
func (e *events) next() (data string, err error) {
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			e.id = id
		}
		if d, ok := strings.CutPrefix(line, "data: "); ok {
			data = d
		}
		if line == "" && data != "" {
			return data, nil
		}
	}
}

// A stream has an event for each change, and resumes after whole write sets.
func TestChangesAsEvents(t *testing.T) {
	s, store := serveChanges(t, nil)
	store.Set(t.Context(), []byte("old"), []byte("1"))
	e := s.follow(t.Context(), "?from=scan", "")
	if data, err := e.next(); err != nil || !strings.Contains(data, `"change":"put","key":"old"`) || e.id == "" {
		t.Errorf("of the state: %q, id %q, %v", data, e.id, err)
	}
	first := e.id
	v, _ := store.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("a"), nil), storage.Put([]byte("b"), nil)}})
	if data, err := e.next(); err != nil || !strings.Contains(data, `"key":"a"`) || e.id != first {
		t.Errorf("in the middle of a write set: %q, id %q, want %s, %v", data, e.id, first, err)
	}
	if data, err := e.next(); err != nil || !strings.Contains(data, `"key":"b"`) || e.id != fmt.Sprint(v) {
		t.Errorf("at its end: %q, id %q, want %d, %v", data, e.id, v, err)
	}
	e.res.Body.Close()
	again := s.follow(t.Context(), "?from=scan", first)
	defer again.res.Body.Close()
	if data, err := again.next(); err != nil || !strings.Contains(data, `"key":"a"`) {
		t.Errorf("resumed: %q, %v", data, err)
	}
}

// The end of the server ends those who wait and those who stream, without a delay.
func TestChangesAtTheEnd(t *testing.T) {
	s, _ := serveChanges(t, func(c *server.Config) { c.ShutdownTimeout = time.Minute })
	e := s.follow(t.Context(), "", "")
	defer e.res.Body.Close()
	_, now, _ := s.page("")
	waits := make(chan *http.Response)
	go func() {
		_, _, res := s.page("?wait=5m&after=" + now)
		waits <- res
	}()
	time.Sleep(50 * time.Millisecond)
	begin := time.Now()
	s.stop()
	if res := <-waits; res.StatusCode != 503 {
		t.Errorf("who waits is answered with %d", res.StatusCode)
	}
	if data, err := e.next(); err != nil || !strings.Contains(data, "shutting_down") {
		t.Errorf("who streams is told %q, %v", data, err)
	}
	s.ended <- <-s.ended
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the end took %s", took)
	}
}

// Many who wait take no places of those who run, and may all hang up at once.
func TestFollowersHangUp(t *testing.T) {
	s, store := serveChanges(t, func(c *server.Config) { c.MaxConcurrent = 8 })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	now, _ := store.Backend().Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	for range 100 {
		all.Go(func() {
			for ctx.Err() == nil {
				res, err := s.ask(ctx, fmt.Sprintf("/v1/stores/s/changes?wait=5m&after=%d", now.Next), nil)
				if err == nil {
					res.Body.Close() // too many began at once
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	for range 20 {
		if _, _, res := s.page(""); res.StatusCode != 200 {
			t.Errorf("beside those who wait: %d", res.StatusCode)
		}
	}
	cancel()
	all.Wait()
	if _, _, res := s.page(""); res.StatusCode != 200 {
		t.Errorf("after them: %d", res.StatusCode)
	}
}

// A client that does not read its stream is cut off, and delays no other.
func TestFollowerThatDoesNotRead(t *testing.T) {
	s, store := serveChanges(t, func(c *server.Config) { c.WriteTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET /v1/stores/s/changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	begin := time.Now()
	for i := range 200 {
		if err := store.Set(t.Context(), []byte{byte(i)}, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("writes took %s", took)
	}
	for end := time.Now().Add(10 * time.Second); s.memory.Stats().Used > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still waited for")
		}
	}
}
