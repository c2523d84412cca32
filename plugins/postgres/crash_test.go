package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/crashtest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// crashWriters end where a server was killed.
var crashWriters = crashtest.Writers{Each: 3, Crashed: func(err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown)
}}

// A server is killed at random moments, with all its processes, under writers whose backend
// stays. Nothing that it has acknowledged is lost, nothing is half there, and no version is
// given again.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	s, last := ownServer(t, "shared_buffers=16MB"), &crashtest.Log{}
	b := opened(t, s, "crashes")
	for round := range crashtest.Rounds(25, 3) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		before := last.Total()
		go func() { ended <- crashWriters.Run(ctx, b, last.Note) }()
		crashWriters.Began(t, last, before)
		time.Sleep(rand.N(50 * time.Millisecond))
		if err := s.Crash(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := crashtest.Check(b, last, last, 1); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d writes were acknowledged", last.Total())
}

const crashConfig = "PLINTH_CRASH_CONFIG"

// serveCrash is the writer that is killed, where this program was started as one.
func serveCrash() {
	config := os.Getenv(crashConfig)
	if config == "" {
		return
	}
	b, err := Open(context.Background(), sdk.Env{Config: []byte(config)})
	if err == nil {
		err = crashWriters.Run(context.Background(), b, crashtest.Print)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The same where the process that writes is killed, as a plugin's or a host's may be. What it
// has sent the server does, until it notices.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	s, table, last := server(t), freshTable(), &crashtest.Log{}
	for round := range crashtest.Rounds(25, 3) {
		child := osexec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashConfig+"="+string(configOf(s, table, "dsn", s.DSN("postgres")+"&application_name=killed")))
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
		time.Sleep(rand.N(50 * time.Millisecond))
		_ = child.Process.Kill()
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		if err := s.Gone(t.Context(), "killed"); err != nil {
			t.Fatal(err)
		}
		b := opened(t, s, table)
		if err := crashtest.Check(b, last, last, 1); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, errs.String())
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d writes were acknowledged", last.Total())
}
