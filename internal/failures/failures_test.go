package failures_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/internal/failures"
	"github.com/plinthkv/plinth/storage"
)

// Of failures of one kind there is a record a second at their level, which counts the others;
// another kind has a turn of its own.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := &failures.Log{To: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))}
		for range 3 {
			for range 1000 {
				l.Failed(t.Context(), storage.Errorf(storage.Unavailable, "e"), "request failed")
				l.Failed(t.Context(), &storage.Error{Code: storage.Unavailable, Unknown: true, Msg: "e"}, "request failed", slog.String("method", "PUT"))
			}
			fmt.Fprintln(l.Writer(), "http: TLS handshake error")
			fmt.Fprintln(l.Writer(), "http: TLS handshake error")
			time.Sleep(time.Second)
		}
		var want strings.Builder
		for _, more := range []string{"", " more=999", " more=999"} {
			fmt.Fprintf(&want, "level=WARN msg=\"request failed\" code=unavailable error=e%s\n", more)
			fmt.Fprintf(&want, "level=ERROR msg=\"request failed\" method=PUT code=outcome_unknown error=\"e; the write may have been applied\"%s\n", more)
			fmt.Fprintf(&want, "level=WARN msg=\"http: TLS handshake error\"%s\n", strings.Replace(more, "999", "1", 1))
		}
		if out.String() != want.String() {
			t.Errorf("got\n%s\nwant\n%s", &out, &want)
		}
	})
}

// With a log of debug there is a record of each, and of what callers see themselves none.
func TestLevels(t *testing.T) {
	var out strings.Builder
	l := &failures.Log{To: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for range 3 {
		l.Failed(context.Background(), storage.Timeout, "late")
		for _, c := range []storage.Code{storage.NotFound, storage.Conflict, storage.InvalidArgument, storage.RateLimited, storage.CircuitOpen, storage.Unauthenticated, storage.ShuttingDown, storage.Canceled} {
			l.Failed(context.Background(), c, "nothing")
		}
	}
	if text := out.String(); strings.Count(text, "late") != 3 || strings.Count(text, "level=WARN") != 1 || strings.Contains(text, "nothing") {
		t.Error(text)
	}
}
