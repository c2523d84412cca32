package answer_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/storage"
)

const forged = "no\x1b[2J such\r\nplinth: ok\u009b31m \u202egnp\xff"

func TestInfo(t *testing.T) {
	for name, c := range map[string]struct {
		info storage.Info
		ok   bool
	}{
		"plain":         {storage.Info{Name: "memory", Version: "1.2 (β)"}, true},
		"nothing":       {storage.Info{}, true},
		"as long as":    {storage.Info{Name: strings.Repeat("x", answer.MaxInfoText)}, true},
		"too long":      {storage.Info{Name: strings.Repeat("x", answer.MaxInfoText+1)}, false},
		"2 MiB":         {storage.Info{Version: strings.Repeat("x", 2<<20)}, false},
		"an escape":     {storage.Info{Name: "a\x1b[2J"}, false},
		"two lines":     {storage.Info{Version: "1\nplinth: ok"}, false},
		"right to left": {storage.Info{Name: "\u202egnp"}, false},
		"not UTF-8":     {storage.Info{Name: "\xff"}, false},
	} {
		if err := answer.Info(&c.info); (err == nil) != c.ok || err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shows reports whether a text can change what is around it.
func shows(s string) bool {
	return utf8.ValidString(s) && len(s) <= abi.MaxErrorText && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }) < 0
}

func TestFailure(t *testing.T) {
	for name, e := range map[string]storage.Error{
		"every text":      {Code: storage.Internal, Op: forged, Layer: forged, Msg: forged, Limit: storage.Limit{Kind: forged}, ConfigPath: forged},
		"long":            {Code: storage.Internal, Msg: strings.Repeat("é\n", abi.MaxErrorText)},
		"long to wait":    {Code: storage.RateLimited, RetryAfter: 1 << 62},
		"negative wait":   {Code: storage.RateLimited, RetryAfter: -1},
		"another's check": {Code: storage.Conflict, Check: 3, Msg: forged},
		"negative check":  {Code: storage.Conflict, Check: -1},
	} {
		got := answer.Failure(&e, true, 2)
		for _, text := range []string{got.Op, got.Layer, got.Msg, got.Limit.Kind, got.ConfigPath, got.Error()} {
			if !shows(text) && text != got.Error() {
				t.Errorf("%s: %q", name, text)
			}
		}
		if got.RetryAfter < 0 || got.RetryAfter > time.Hour {
			t.Errorf("%s: retry after %s", name, got.RetryAfter)
		}
		if wrong := strings.HasSuffix(name, "check"); wrong != (got.Unknown && got.Code == storage.Internal && got.Check == 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	own := storage.ConflictAt(1)
	if got := answer.Failure(own, true, 2); got != own {
		t.Errorf("an error that can be is another: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { _ = answer.Refused(storage.ErrNotFound, nil) }); n > 0 {
		t.Errorf("%.0f allocations for what is not found", n)
	}
	if err := answer.Refused(errors.ErrUnsupported, nil); err != errors.ErrUnsupported {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	h := storage.Health{Reason: forged, Details: map[string]string{forged: forged, "state": "ready", "long": strings.Repeat("x", 1<<20)}}
	answer.Health(&h)
	if !shows(h.Reason) || len(h.Details) != 3 || h.Details["state"] != "ready" {
		t.Errorf("%+q", h)
	}
	for key, value := range h.Details {
		if !shows(key) || !shows(value) {
			t.Errorf("%q: %.80q", key, value)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add(forged)
	f.Add(strings.Repeat("\xff", abi.MaxErrorText))
	f.Fuzz(func(t *testing.T, s string) {
		got := abi.Printable(s)
		if !shows(got) {
			t.Errorf("%q", got)
		}
		if abi.Printable(got) != got {
			t.Errorf("%q is another, printed twice", got)
		}
	})
}
