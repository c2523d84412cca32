package gatekeeper_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/secret"
)

func TestOpens(t *testing.T) {
	g := gatekeeper.Gatekeeper{Token: secret.Copy("s3cret")}
	for value, want := range map[string]bool{
		"Bearer s3cret": true, "bearer s3cret": true, "BEARER s3cret": true, "Bearer  s3cret": true,
		"": false, "s3cret": false, "Bearer": false, "Bearer ": false, "Basic s3cret": false, "Bearer s3cre": false, "Bearer S3CRET": false, "Bearers3cret": false,
	} {
		if g.Admits(value) != want {
			t.Errorf("%q: %v", value, !want)
		}
	}
	if !(gatekeeper.Gatekeeper{}).Admits("") {
		t.Error("a gatekeeper without a token admits no one")
	}
}

// Wrong tokens cost more and more time, those of one address only, and are reported at
// a bounded rate.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := gatekeeper.Guard{Log: slog.New(slog.NewTextHandler(&log, nil))}
		took := func(address string) time.Duration {
			start := time.Now()
			g.Failed(context.Background(), address)
			return time.Since(start)
		}
		var last time.Duration
		for i := range 200 {
			d := took(fmt.Sprintf("192.0.2.1:%d", 1000+i)) // with a connection each
			if d < last || i < 3 && d != 0 || i > 3 && d == 0 {
				t.Fatalf("try %d took %s, the one before %s", i, d, last)
			}
			last = d
		}
		if last != 2*time.Second {
			t.Errorf("in the end one takes %s", last)
		}
		if d := took("192.0.2.2:1"); d != 0 {
			t.Errorf("another waits for %s", d)
		}
		lines := strings.Count(log.String(), "\n")
		if most := int(200*2*time.Second/(10*time.Second)) + 2; lines < 2 || lines > most {
			t.Errorf("%d lines in the log, at most %d are expected", lines, most)
		}
		if n := g.Failures(); n != 201 {
			t.Errorf("%d failures", n)
		}
		time.Sleep(time.Hour)
		if d := took("192.0.2.1:1"); d != 0 {
			t.Errorf("after an hour one waits for %s", d)
		}
		for i := range 4096 + 10 { // what is remembered is bounded; nobody is let off for that
			last = took(fmt.Sprintf("[2001:db8::%x]:1", i))
		}
		if last == 0 {
			t.Error("one more than are remembered does not wait")
		}
	})
}
