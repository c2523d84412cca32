package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// One command starts the service on memory, says how to begin, and ends on request.
func TestServe(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Setenv("TMPDIR", t.TempDir()) // where the operator's key goes
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	var logs strings.Builder
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-listen", "127.0.0.1:0"}, write, &logs)
		write.CloseWithError(io.EOF)
		ended <- err
	}()
	var at, key string
	for lines := bufio.NewScanner(read); (at == "" || key == "") && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "serving on "); ok {
			at, _, _ = strings.Cut(rest, ",")
		}
		if _, rest, ok := strings.Cut(lines.Text(), "for one: "); ok {
			key = rest
		}
	}
	go io.Copy(io.Discard, read)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the operator's key %q: %v, %v\n%s", key, info, err, logs.String())
	}
	var signed strings.Builder
	if err := run(ctx, []string{"token", "-key", key}, &signed, io.Discard); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, url: at}
	w.send(http.MethodPost, "/control/v1/organizations", `{"name": "acme"}`, "Authorization", "Bearer "+strings.TrimSpace(signed.String())).must(t, http.StatusCreated)
	for path, want := range map[string]string{"/healthz": "healthy\n", "/metrics": "db_client_operation_duration_seconds"} {
		res, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %.200s", path, body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, logs.String())
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

// What commands refuse.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	key, broken := filepath.Join(dir, "key.pem"), filepath.Join(dir, "broken.pem")
	if err := os.WriteFile(broken, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	var public strings.Builder
	if err := run(t.Context(), []string{"keygen", key}, &public, io.Discard); err != nil || len(public.String()) != 44 {
		t.Fatalf("%q, %v", public.String(), err)
	}
	for want, args := range map[string][]string{
		"unknown command":         {"start"},
		"expects the file":        {"keygen"},
		"file exists":             {"keygen", key}, // a key is never replaced
		"is not PEM":              {"token", "-key", broken},
		"no such file":            {"token", "-key", filepath.Join(dir, "none")},
		"not defined":             {"serve", "-keys", key},
		"public key":              {"serve", "-listen", "127.0.0.1:0", "-operator", "abc"},
		"unknown store \"authz\"": {"serve", "-config", write(t, dir, "other.yaml", "stores: { default: { backend: { plugin: memory } } }")},
		"unknown key \"rat\"":     {"serve", "-config", write(t, dir, "typo.yaml", strings.Replace(string(onMemory), "rate: 5000", "rat: 5000", 1))},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func write(t *testing.T, dir, name, text string) string {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
