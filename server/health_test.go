package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

func TestProbes(t *testing.T) {
	sick := &sickBackend{}
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		sick.Backend = set.Stores["s"].Backend()
		set.Stores["sick"] = storage.New(sick, storage.Settings{})
	})
	for _, c := range []struct {
		health  storage.Health
		err     error
		hangs   bool
		ready   int
		mention string
	}{
		{health: storage.Health{Status: storage.Healthy}, ready: 200, mention: `"sick":{"status":"healthy"`},
		{health: storage.Health{Status: storage.Degraded, Reason: "slow disk"}, ready: 200, mention: "slow disk"},
		{health: storage.Health{Status: storage.Unhealthy, Reason: "no disk"}, ready: 503, mention: "no disk"},
		{err: storage.ErrUnavailable, ready: 503, mention: "backend unavailable"},
		{hangs: true, ready: 503, mention: "no answer"},
	} {
		sick.set(c.health, c.err, c.hangs)
		for _, path := range []string{"/readyz", "/startupz"} {
			if a := s.raw("GET "+path, ""); a.status != c.ready || !strings.Contains(a.body, c.mention) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		s.must(s.raw("GET /livez", ""), 200)
	}
	s.must(s.raw("POST /livez", ""), 405)
}

type sickBackend struct {
	storage.Backend
	health storage.Health
	err    error
	hangs  bool
}

func (b *sickBackend) set(h storage.Health, err error, hangs bool) {
	b.health, b.err, b.hangs = h, err, hangs
}

func (b *sickBackend) Health(ctx context.Context, _ storage.Probe) (storage.Health, error) {
	if b.hangs {
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // later than the server's patience
	}
	return b.health, b.err
}

// Each code has a status, and one that proxies repeat never hides a write that
// may have been applied.
func TestStatuses(t *testing.T) {
	fails := &failingApply{}
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		fails.Backend = set.Stores["s"].Backend()
		set.Stores["s"] = storage.New(fails, storage.Settings{})
	})
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{storage.ErrUnavailable, 503, "unavailable"},
		{&storage.Error{Code: storage.Unavailable, Unknown: true}, 500, "outcome_unknown"},
		{&storage.Error{Code: storage.Timeout, Unknown: true}, 500, "outcome_unknown"},
		{storage.ErrTimeout, 504, "timeout"},
		{storage.ErrOutcomeUnknown, 500, "outcome_unknown"},
		{storage.ErrInternal, 500, "internal"},
		{errors.New("something"), 500, "internal"},
		{storage.ErrSerialization, 500, "serialization"},
		{storage.ErrCircuitOpen, 503, "circuit_open"},
		{storage.ErrShuttingDown, 503, "shutting_down"},
		{&storage.Error{Code: storage.RateLimited, RetryAfter: 1500 * time.Millisecond}, 429, "rate_limited"},
		{storage.LimitError(storage.SizeLimit, "value", 1, 2), 413, "size_limit"},
		{storage.LimitError(storage.RangeLimit, "rows", 1, 2), 413, "range_limit"},
		{storage.ErrNoSpace, 507, "no_space"},
		{storage.ErrUnsupported, 501, "unsupported"},
		{storage.ErrAlreadyExists, 409, "already_exists"},
		{storage.ErrPermissionDenied, 403, "permission_denied"},
		{storage.ErrConflict, 412, "conflict"},
	} {
		fails.err = c.err
		a := s.put("/keys/k", "v")
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.err, a.status, a.code(), c.status, c.code)
		}
		if c.status == 429 && a.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if a.header.Get("ETag") != "" {
			t.Error("an error with an ETag")
		}
	}
}

type failingApply struct {
	storage.Backend
	err error
}

func (f *failingApply) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 0, f.err }

// A caller does not decide how much is logged: of failures of a kind there is a record a
// second, and none where a circuit is open, which says so once.
func TestFailuresAreLoggedAtARate(t *testing.T) {
	for code, want := range map[storage.Code]bool{storage.CircuitOpen: false, storage.Unavailable: true, storage.Internal: true} {
		var log bytes.Buffer
		s := serve(t, func(_ *server.Config, set *server.Settings) {
			set.Stores["s"] = storage.New(refuses{storage.UnimplementedBackend{}, code}, storage.Settings{})
			set.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		start := time.Now()
		for range 200 {
			if a := s.get("/keys/k"); a.status < 500 {
				t.Fatalf("%s: %d", code, a.status)
			}
		}
		most := 1 + int(time.Since(start)/time.Second)
		s.stop()
		s.ended <- <-s.ended
		got := strings.Count(log.String(), "request failed")
		if want && (got < 1 || got > most) || !want && got > 0 {
			t.Errorf("%s: %d records, want at most %d: %.500s", code, got, most, log.String())
		}
	}
}

type refuses struct {
	storage.UnimplementedBackend
	code storage.Code
}

func (r refuses) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, &storage.Error{Code: r.code}
}
