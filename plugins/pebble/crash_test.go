package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/internal/crashtest"
	"github.com/plinthkv/plinth/sdk"
)

var crashWriters = crashtest.Writers{Each: 3}

func crashConfig() Config {
	c := DefaultConfig()
	c.WriteBuffer, c.Cache, c.Reserve = 1<<20, 1<<20, 0
	return c
}

const crashDir = "PLINTH_CRASH_DIR"

// TestMain is the plugin, or the writer that is killed, where it is told so.
func TestMain(m *testing.M) {
	servePlugin()
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	b, err := open(context.Background(), crashConfig(), sdk.Env{Dir: dir}, vfs.Default)
	if err == nil {
		err = crashWriters.Run(context.Background(), b, crashtest.Print)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process that writes is killed at random moments. Nothing that it has acknowledged is
// lost, nothing is half there, and no version is given again.
func TestKilled(t *testing.T) {
	dir, last := t.TempDir(), &crashtest.Log{}
	for round := range crashtest.Rounds(25, 5) {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir)
		var errs strings.Builder
		child.Stderr = &errs
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		before := last.Total()
		read := make(chan error, 1)
		go func() { read <- last.Follow(out) }()
		crashWriters.Began(t, last, before)
		time.Sleep(rand.N(100 * time.Millisecond))
		_ = child.Process.Kill()
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		b, err := open(t.Context(), crashConfig(), sdk.Env{Dir: dir, Log: slog.New(slog.DiscardHandler)}, vfs.Default)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, errs.String())
		}
		if err := crashtest.Check(b, last, last, 1); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d writes were acknowledged", last.Total())
}

// The same where the machine crashes: what was not synced is lost, all of it or some. Killing
// a process cannot show that, for the system has what it wrote.
func TestPowerLost(t *testing.T) {
	fs, last := vfs.NewCrashableMem(), &crashtest.Log{}
	by := last
	for round := range crashtest.Rounds(25, 5) {
		b, err := open(t.Context(), crashConfig(), sdk.Env{Dir: "store", Log: slog.New(slog.DiscardHandler)}, fs)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := crashtest.Check(b, last, by, 1); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- crashWriters.Run(ctx, b, last.Note) }()
		time.Sleep(rand.N(60 * time.Millisecond))
		before := last.Copy()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rand.IntN(101), RNG: rand.New(rand.NewPCG(uint64(round), 1))})
		during := last.Copy()
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := b.Close(t.Context()); err != nil { // to a folder that is no longer used
			t.Fatal(err)
		}
		fs, last, by = crashed, before, during
	}
}
