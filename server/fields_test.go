package server

import (
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every field of a configuration is what the HTTP server, or its gatekeeper, is made
// with. Those that each request looks up have tests of their own, which are named.
func TestNoFieldIsForgotten(t *testing.T) {
	base := Config{Listener: Listener{Address: "127.0.0.1:0"}}
	base.Listener = base.WithDefaults()
	got := sentinel.Ignored(base, map[string]any{"Address": "127.0.0.1:1"}, func(c Config) any {
		d := c.gatekeeper()
		c.Cert, c.Key, c.ClientCA = "", "", "" // there are no such files
		s, err := New(c, Settings{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		w := s.web()
		r := s.now()
		return []any{d, r.gatekeeper, r.admin, r.hosts, r.maxOps, r.maxKeys, r.body, s.slots, w.ReadHeaderTimeout, w.IdleTimeout, w.MaxHeaderBytes}
	})
	want := []string{
		"BodyTimeout",     // TestSlowBodies
		"PartTimeout",     // TestSlowBodies
		"ShutdownDelay",   // TestShutdownDelay
		"ShutdownTimeout", // TestShutdownTimeout
		"WriteTimeout",    // TestCallerThatDoesNotRead
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
}

// What is silent in a configuration has the default that its comment says.
func TestDefaults(t *testing.T) {
	var c Config
	c.defaults()
	want := Config{BodyTimeout: time.Minute, PartTimeout: 10 * time.Second, Listener: Listener{HeaderBytes: 16 << 10, HeaderTimeout: 5 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxOps: 10_000, MaxKeys: 1_000, MaxConcurrent: 1_024, ShutdownTimeout: 15 * time.Second}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the defaults are %+v, want %+v", c, want)
	}
}
