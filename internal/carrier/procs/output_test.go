//go:build unix

package procs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/supervise"
)

// Records in JSON keep their numbers, and of a crash the first line is what counts.
func TestOutput(t *testing.T) {
	var log bytes.Buffer
	o := &output{log: slog.New(slog.NewJSONHandler(&log, nil)), rate: &supervise.LogRate{}}
	o.tell(`{"msg":"m","version":1863045678901234567,"share":0.25,"of":{"n":9007199254740993}}`, slog.LevelInfo)
	for _, want := range []string{`"version":1863045678901234567`, `"share":0.25`, `"n":9007199254740993`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in %s", want, &log)
		}
	}
	for _, line := range []string{"SIGSEGV: segmentation violation", "PC=0x47 m=0 sigcode=1", "rax 0x0", "rbx 0x1", "rip 0x2", "cs 0x33", "fs 0x0", "gs 0x0", "r15 0x1"} {
		o.tell(line, slog.LevelInfo)
	}
	if got := o.words(); got != "SIGSEGV: segmentation violation" {
		t.Errorf("its last words are %q", got)
	}
}
