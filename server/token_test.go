package server_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// lockedBuffer is a log that several write to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// Callers without a token see the state of the whole; names and reasons are for those
// who have it. Wrong tokens are logged, without the token.
func TestProbesAndTokens(t *testing.T) {
	var log lockedBuffer
	sick := &sickBackend{}
	s := serve(t, func(c *server.Config, set *server.Settings) {
		c.Token, set.Log = secret.Copy("s3cret"), slog.New(slog.NewTextHandler(&log, nil))
		sick.Backend = set.Stores["s"].Backend()
		sick.set(storage.Health{Status: storage.Unhealthy, Reason: "no disk"}, nil, false)
		set.Stores["payments"] = storage.New(sick, storage.Settings{})
	})
	get := func(path, authorization string) (int, string) {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, path := range []string{"/readyz", "/startupz"} {
		for authorization, told := range map[string]bool{"": false, "Bearer wr0ng": false, "bearer s3cret": true, "Bearer s3cret": true} {
			status, body := get(path, authorization)
			if status != 503 || !strings.Contains(body, "unhealthy") || told != strings.Contains(body, "payments") || told != strings.Contains(body, "no disk") {
				t.Errorf("%s with %q: %d %s", path, authorization, status, body)
			}
		}
	}
	if status, _ := get("/v1/stores/s/keys/k", "Bearer wr0ng"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", status)
	}
	if text := log.String(); !strings.Contains(text, "wrong token") || strings.Contains(text, "wr0ng") {
		t.Errorf("the log has %s", text)
	}
}
