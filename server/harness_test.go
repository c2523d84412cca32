package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// served is a server on loopback with the store "s" over memory.
type served struct {
	t     *testing.T
	addr  string
	store *storage.Store
	now   *time.Time
	stop  context.CancelFunc
	ended chan error

	memory *budget.Budget // that it was made with, if any
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server; edit changes what it is made with.
func serve(t *testing.T, edit func(*server.Config, *server.Settings)) *served {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &served{t: t, now: &now, ended: make(chan error, 1)}
	clock := func() time.Time { return *s.now }
	s.store = storage.New(memory.New(memory.DefaultConfig(), sdk.Env{Now: clock}), storage.Settings{Clock: clock})
	config := server.Config{Listener: server.Listener{Address: "127.0.0.1:0", ShutdownTimeout: 2 * time.Second}}
	settings := server.Settings{Stores: map[string]*storage.Store{"s": s.store}, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&config, &settings)
	}
	s.memory = settings.Memory
	srv, err := server.New(config, settings)
	if err != nil {
		t.Fatal(err)
	}
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return s
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	cut    bool // the body ended before its end
}

// code is the code of a problem.
func (a answer) code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal([]byte(a.body), &p) // no problem: no code
	return p.Code
}

// raw sends a request line and header lines as they are, and a body.
func (s *served) raw(request string, body string) answer {
	s.t.Helper()
	network, addr := "tcp", s.addr
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := strings.Split(request, "\n")
	first := strings.TrimSpace(lines[0])
	head := first + " HTTP/1.1\r\n"
	hasHost := false
	for _, l := range lines[1:] {
		if l = strings.TrimSpace(l); l != "" {
			hasHost = hasHost || strings.HasPrefix(strings.ToLower(l), "host:")
			head += l + "\r\n"
		}
	}
	if !hasHost {
		head += "Host: localhost\r\n"
	}
	if body != "" && !strings.Contains(strings.ToLower(head), "content-length:") {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	go func() {
		io.Copy(conn, strings.NewReader(head+"Connection: close\r\n\r\n"+body))
		if hangsUp := strings.Contains(request, "X: half"); hangsUp {
			conn.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	method, _, _ := strings.Cut(first, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{cut: true}
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, res.Body)
	return answer{res.StatusCode, res.Header, b.String(), err != nil}
}

const base = "/v1/stores/s"

func (s *served) get(path string) answer { return s.raw("GET "+base+path, "") }

func (s *served) put(path, value string) answer {
	return s.raw("PUT "+base+path+"\nContent-Length: "+fmt.Sprint(len(value)), value)
}

func (s *served) json(path, body string) answer {
	return s.raw("POST "+base+path+"\nContent-Type: application/json", body)
}

func (s *served) must(a answer, status int) answer {
	s.t.Helper()
	if a.status != status {
		s.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

func (s *served) has(key, want string) {
	s.t.Helper()
	got, err := s.store.Get(context.Background(), []byte(key))
	if err != nil || string(got) != want {
		s.t.Fatalf("%q holds %q (%v), want %q", key, got, err, want)
	}
}

func (s *served) lacks(key string) {
	s.t.Helper()
	if got, err := s.store.Get(context.Background(), []byte(key)); storage.CodeOf(err) != storage.NotFound {
		s.t.Fatalf("%q holds %q (%v), want nothing", key, got, err)
	}
}
