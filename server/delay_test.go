package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/plinthkv/plinth/server"
)

// After the end has begun, the server is not ready, and serves until the delay is over.
func TestShutdownDelay(t *testing.T) {
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0", ShutdownDelay: 500 * time.Millisecond}}, server.Settings{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(path string) int {
		res, err := c.Get(srv.Address() + path)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	if ready := ask("/readyz"); ready != http.StatusOK {
		t.Fatalf("before the end: %d", ready)
	}
	end()
	for until := time.Now().Add(5 * time.Second); ask("/readyz") != http.StatusServiceUnavailable; {
		if time.Now().After(until) {
			t.Fatal("it is still ready, or gone")
		}
	}
	if got := ask("/v1/stores/none"); got != http.StatusNotFound {
		t.Errorf("in the delay, a new request is answered %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := ask("/livez"); got != 0 {
		t.Errorf("after the end: %d", got)
	}
}
