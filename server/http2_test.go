package server_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// speaking is a client that speaks only these protocols, with certificates that it does not
// look at.
func speaking(t *testing.T, protocols func(*http.Protocols)) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	protocols(tr.Protocols)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// HTTP/2 is spoken over TLS by ALPN and in the clear with prior knowledge, next to HTTP/1.1.
func TestHTTP2(t *testing.T) {
	cert, key := selfSigned(t)
	clear := serve(t, nil)
	secure := serve(t, func(c *server.Config, _ *server.Settings) { c.Cert, c.Key = cert, key })
	for _, c := range []struct {
		url       string
		protocols func(*http.Protocols)
		proto     string
	}{
		{"http://" + clear.addr, func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/1.1"},
		{"http://" + clear.addr, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, "HTTP/2.0"},
		{"https://" + secure.addr, func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/1.1"},
		{"https://" + secure.addr, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, "HTTP/2.0"},
	} {
		client := speaking(t, c.protocols)
		large := strings.Repeat("x", 1<<20)
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			r, err := http.NewRequest(method, c.url+base+"/keys/k%2Fl", nil)
			if err != nil {
				t.Fatal(err)
			}
			if method == http.MethodPut {
				r.Body = io.NopCloser(strings.NewReader(large))
			}
			res, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s %s: %v", c.proto, c.url, err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.Proto != c.proto || res.StatusCode/100 != 2 || method == http.MethodGet && string(body) != large {
				t.Errorf("%s %s: %s %s, %d bytes, %v", method, c.url, res.Proto, res.Status, len(body), err)
			}
		}
	}
}

// frames is one connection of HTTP/2, frame by frame.
type frames struct {
	t *testing.T
	*http2.Framer
	conn net.Conn
	text bytes.Buffer
	enc  *hpack.Encoder
	dec  *hpack.Decoder
	sent map[http2.SettingID]uint32 // the server's settings
}

func dialFrames(t *testing.T, addr string) *frames {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	f := &frames{t: t, Framer: http2.NewFramer(conn, conn), conn: conn, sent: map[http2.SettingID]uint32{}}
	f.enc, f.dec = hpack.NewEncoder(&f.text), hpack.NewDecoder(4096, nil)
	fmt.Fprint(conn, http2.ClientPreface)
	f.must(f.WriteSettings())
	for len(f.sent) == 0 {
		if s, ok := f.next().(*http2.SettingsFrame); ok && !s.IsAck() {
			f.must(s.ForeachSetting(func(s http2.Setting) error { f.sent[s.ID] = s.Val; return nil }))
		}
	}
	f.must(f.WriteSettingsAck())
	return f
}

func (f *frames) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *frames) next() http2.Frame {
	f.t.Helper()
	frame, err := f.ReadFrame()
	f.must(err)
	return frame
}

// ask begins a request, whose body is not at its end where more is to come.
func (f *frames) ask(stream uint32, method, path string, more bool, header ...string) {
	f.t.Helper()
	f.text.Reset()
	for i, all := 0, append([]string{":method", method, ":scheme", "http", ":authority", "localhost", ":path", path}, header...); i < len(all); i += 2 {
		f.must(f.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}))
	}
	block := f.text.Bytes()
	first := min(len(block), 16<<10)
	f.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:first], EndStream: !more, EndHeaders: first == len(block)}))
	for block = block[first:]; len(block) > 0; {
		n := min(len(block), 16<<10)
		f.must(f.WriteContinuation(stream, n == len(block), block[:n]))
		block = block[n:]
	}
}

// answered is the status of a stream's answer, or the code that it was reset with.
func (f *frames) answered(stream uint32) (status string, reset http2.ErrCode) {
	f.t.Helper()
	f.dec.SetEmitFunc(func(h hpack.HeaderField) {
		if h.Name == ":status" {
			status = h.Value
		}
	})
	for {
		switch frame := f.next().(type) {
		case *http2.HeadersFrame:
			if _, err := f.dec.Write(frame.HeaderBlockFragment()); err != nil {
				f.t.Fatal(err)
			}
			if frame.StreamID == stream && status != "" {
				return status, 0
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "", frame.ErrCode
			}
		case *http2.GoAwayFrame:
			f.t.Fatalf("the connection is closed: %s", frame.ErrCode)
		}
	}
}

// What one connection may have is bounded, and the server says so: requests at once, the size
// of a header, and what is sent before it is read.
func TestHTTP2Bounds(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1000)
	s := serve(t, func(c *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: gate, entered: entered}, storage.Settings{})
	})
	f := dialFrames(t, s.addr)
	want := map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: 100, http2.SettingInitialWindowSize: 256 << 10, http2.SettingMaxHeaderListSize: 16<<10 + 320}
	for id, n := range want {
		if f.sent[id] != n {
			t.Errorf("%s is %d, want %d", id, f.sent[id], n)
		}
	}
	var large []string
	for i := range 17 {
		large = append(large, fmt.Sprint("x", i), strings.Repeat("x", 1<<10))
	}
	f.ask(1, "GET", base+"/keys/k", false, large...)
	if status, _ := f.answered(1); status != "431" {
		t.Errorf("a header that is too large is answered %q", status)
	}
	for i := range uint32(100) {
		f.ask(3+2*i, "GET", base+"/keys/k", false)
		<-entered
	}
	f.ask(203, "GET", base+"/keys/k", false) // although the server has said how many
	if _, reset := f.answered(203); reset != http2.ErrCodeProtocol {
		t.Errorf("one more than 100 requests is reset with %s", reset)
	}
	if a := s.raw("GET /livez", ""); a.status != 200 {
		t.Errorf("another connection: %d", a.status)
	}
	close(gate)
	if status, _ := f.answered(3); status != "404" {
		t.Errorf("the first of them is answered %q", status)
	}
}

// unfinished is a body of so many bytes whose end does not come until it is closed.
type unfinished struct {
	left int
	end  chan struct{}
}

func (u *unfinished) Read(p []byte) (int, error) {
	if u.left == 0 {
		<-u.end
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), u.left)
	u.left -= n
	return n, nil
}

// Many uploads over one connection share what one client may have of the memory.
func TestHTTP2StreamsAreOneClient(t *testing.T) {
	s := serve(t, withMemory)
	client := speaking(t, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	end := make(chan struct{})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			r, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s%s/keys/%d", s.addr, base, i), &unfinished{left: 250 << 10, end: end})
			if err != nil {
				t.Error(err)
				return
			}
			r.ContentLength = 300 << 10
			if res, err := client.Do(r); err == nil {
				res.Body.Close()
			}
		})
	}
	share, most := s.memory.Share(), int64(0)
	for deadline := time.Now().Add(10 * time.Second); most < share-share/16; time.Sleep(time.Millisecond) {
		if most = max(most, s.memory.Stats().Used); time.Now().After(deadline) {
			t.Fatalf("only %d bytes have arrived", most)
		}
	}
	if status := s.uploaded(t, 10*time.Second); status != http.StatusNoContent {
		t.Errorf("a whole upload beside them: %d", status)
	}
	if used := max(most, s.memory.Stats().Used); used > share {
		t.Errorf("one connection holds %d bytes, its share is %d", used, share)
	}
	close(end)
	all.Wait()
}

// A client of HTTP/2 that takes nothing of an answer is cut off like any other: whether its
// window is shut, or it reads nothing at all.
func TestHTTP2CallerThatDoesNotRead(t *testing.T) {
	for name, window := range map[string]uint32{"shut window": 0, "no reading": 1<<31 - 1} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(c *server.Config, _ *server.Settings) {
				c.MaxConcurrent, c.WriteTimeout = 1, 100*time.Millisecond
			})
			if err := s.store.Set(t.Context(), []byte("large"), make([]byte, 8<<20)); err != nil {
				t.Fatal(err)
			}
			f := dialFrames(t, s.addr)
			f.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			f.must(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
			if window > 0 {
				f.must(f.WriteWindowUpdate(0, 1<<30))
			}
			f.ask(1, "GET", base+"/keys/large", false)
			if status, _ := f.answered(1); status != "200" {
				t.Fatalf("the answer is %q", status)
			}
			for deadline := time.Now().Add(10 * time.Second); s.get("/keys/absent").status != 404; {
				if time.Now().After(deadline) {
					t.Fatal("a caller that does not read keeps all others out")
				}
			}
		})
	}
}
