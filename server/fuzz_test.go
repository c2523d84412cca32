package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// No request makes the server panic or fail: what is wrong with it is its
// caller's fault, and is said in a problem. A refused request changes nothing.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /v1/stores/s/keys/a%2Fb HTTP/1.1\nHost: localhost\n\n",
		"PUT /v1/stores/s/keys/?key64=YQ==&ttl=1h HTTP/1.1\nHost: localhost\nIf-Match: \"1\", \"2\"\nContent-Length: 1\n\nv",
		"DELETE /v1/stores/s/keys?prefix64=/w==&all=true HTTP/1.1\nHost: localhost\n\n",
		"GET /v1/stores/s/keys?start=a&end=b&limit=5&reverse=true&keys_only=true HTTP/1.1\nHost: localhost\n\n",
		"POST /v1/stores/s/get HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 32\n\n{\"keys\":[\"a\",{\"key64\":\"YQ==\"}]}  ",
		"POST /v1/stores/s/apply HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 119\n\n" +
			`{"checks":[{"key":"a","version":"7"}],"ops":[{"op":"put","key":"\ud83d\ude00","value64":"AAE=","ttl":"1h"},{"op":"x"}]}`,
		"POST /v1/stores/s/keys/k?touch=true&expires_at=2030-01-01T00:00:00Z HTTP/1.1\nHost: localhost\n\n",
		"GET /v1/stores/s HTTP/1.1\nHost: localhost\n\n",
		"GET /readyz HTTP/1.1\nHost: [::1]:80\n\n",
	} {
		f.Add([]byte(strings.ReplaceAll(seed, "\n", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		b := memory.New(memory.DefaultConfig(), sdk.Env{})
		store := storage.New(b, storage.Settings{})
		srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{
			Stores: map[string]*storage.Store{"s": store}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := store.Apply(context.Background(), &storage.WriteSet{})
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, req)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if w.Code < 400 {
			return
		}
		if after, _ := store.Apply(context.Background(), &storage.WriteSet{}); after != before {
			t.Errorf("refused with %d, it changed something", w.Code)
		}
		var p struct{ Code string }
		if req.Method != http.MethodHead && (json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Code == "") {
			t.Errorf("%d without a problem: %s", w.Code, w.Body)
		}
	})
}
