package quiet_test

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/quiet"
)

// Nothing is logged until End, and everything after it, by log and by slog.
func TestEnd(t *testing.T) {
	stderr := os.Stderr
	defer func() { os.Stderr = stderr; log.SetOutput(stderr) }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = w
	slog.Warn("early by slog")
	log.Print("early by log")
	quiet.End()
	slog.Warn("late by slog")
	log.Print("late by log")
	w.Close()
	var out bytes.Buffer
	out.ReadFrom(r)
	if got := out.String(); strings.Contains(got, "early") || !strings.Contains(got, "WARN late by slog\n") || !strings.Contains(got, " late by log\n") {
		t.Errorf("got %s", got)
	}
}
