package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// If the listeners require client certificates, probes and metrics have a listener of their own.
func TestProbesBesideClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, signer := issue(t, dir, "ca", nil, nil)
	issue(t, dir, "server", ca, signer)
	socket := filepath.Join(dir, "probes.sock")
	file := filepath.Join(dir, "plinth.yaml")
	if err := os.WriteFile(file, []byte("stores: { default: { backend: { plugin: memory } } }\nserver: { probes: \"unix:"+socket+
		"\", tls: { cert: server.pem, key: server-key.pem, client_ca: ca.pem } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "check", file)
	web, _ := serveFile(t, file)
	if _, err := http.Get(web + "/readyz"); err == nil {
		t.Fatal("a caller without a certificate is admitted")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	for path, want := range map[string]string{"/livez": `"healthy"`, "/readyz": `{"status":"healthy"}`, "/startupz": `"healthy"`, "/metrics": "plinth_config_generation"} {
		res, err := client.Get("http://probes.example.org" + path)
		if path == "/metrics" {
			res, err = client.Get("http://localhost" + path)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %.200s", path, res.StatusCode, body)
		}
	}
}
