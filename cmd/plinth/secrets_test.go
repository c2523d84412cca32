package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func plinthCommand(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
	return code, stdout.String(), stderr.String()
}

// The token is for the server that was named: redirects are not followed, whatever the
// command.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL+r.URL.Path, status)
		}))
		for _, args := range [][]string{{"get", "k"}, {"set", "k", "v"}, {"delete", "k"}, {"scan"}, {"clear", "--all"}, {"cas", "k", "--expect", "a", "b"}, {"export", "-"}} {
			code, _, errs := plinthCommand(append(args, "--addr", srv.URL, "--token", "hunter2")...)
			if code != exitFailed || !strings.Contains(errs, "redirects are not followed") || strings.Contains(errs, "hunter2") {
				t.Errorf("%d, %v: exit code %d: %s", status, args, code, errs)
			}
		}
		srv.Close()
	}
	if stolen.Load() > 0 {
		t.Errorf("%d requests went elsewhere", stolen.Load())
	}
}

// A token goes nowhere in the clear but to this machine, over either protocol.
func TestTokensInTheClear(t *testing.T) {
	for addr, refused := range map[string]bool{
		"http://example.invalid:1": true, "grpc://example.invalid:1": true, "http://192.0.2.1:1": true, "grpc://192.0.2.1:1": true,
		"http://127.0.0.1:1": false, "grpc://127.0.0.1:1": false, "http://[::1]:1": false, "http://localhost:1": false, "unix:/none/s": false, "127.0.0.1:1": false,
	} {
		code, _, errs := plinthCommand("get", "k", "--addr", addr, "--token", "hunter2")
		if is := code == exitUsage && (strings.Contains(errs, "in the clear") || strings.Contains(errs, "in plain text")); is != refused {
			t.Errorf("%s: exit code %d: %s", addr, code, errs)
		}
	}
}

// A line of an answer has a bound, so that a server cannot fill the memory of who asks it.
func TestAnswerWithoutEnd(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"key":"k","value":"`)
		for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	code, _, errs := plinthCommand("scan", "--addr", srv.URL)
	if code != exitFailed || !strings.Contains(errs, fmt.Sprintf("a line exceeds %d bytes", maxLine)) {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// What is written on a user's behalf can be read by as many as before, and by no one else
// if it is new.
func TestModesOfExports(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"key":"k","value":"v"}`)
	}))
	defer srv.Close()
	dir := t.TempDir()
	for name, before := range map[string]os.FileMode{"new": 0, "new.gz": 0, "private": 0o600, "group": 0o640, "public": 0o644, "readonly": 0o400} {
		path, want := filepath.Join(dir, name), os.FileMode(0o600)
		if before != 0 {
			want = before
			if err := os.WriteFile(path, nil, before); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, before); err != nil {
				t.Fatal(err)
			}
		}
		if code, _, errs := plinthCommand("export", path, "--addr", srv.URL); code != exitDone {
			t.Fatalf("%s: %s", name, errs)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want || info.Size() == 0 {
			t.Errorf("%s: %v, %v, want mode %v", name, info.Mode(), err, want)
		}
	}
}

// What is logged of a URL is its scheme and host.
func TestSecretsInURLs(t *testing.T) {
	for in, want := range map[string]string{
		`Post "https://otel.example/v1/KEY/traces?api-key=KEY": EOF`:   `Post "https://otel.example/…": EOF`,
		`traces export: Post "http://u:p@h:4318/": dial tcp: refused`:  `traces export: Post "http://h:4318/…": dial tcp: refused`,
		`Post "http://h:4318": refused`:                                `Post "http://h:4318": refused`,
		"no URL: a/b":                                                  "no URL: a/b",
		"https://h/a https://i/?k=v":                                   "https://h/… https://i/…",
		`failed to upload to grpc://collector.example:4317/x#fragment`: `failed to upload to grpc://collector.example:4317/…`,
	} {
		if got := withoutSecrets(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
