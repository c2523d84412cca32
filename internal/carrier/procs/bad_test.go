package procs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// A plugin that cannot be started says why, with its name, in time, and leaves
// nothing behind.
func TestCannotStart(t *testing.T) {
	for name, want := range map[string]string{
		"silent":  "not ready within",
		"exits":   "exit status 7; its last output: no license",
		"garbage": `the first line on standard output must be that of the handshake, and is "hello, world"`,
		"unended": "not ready within 1s: the first line on standard output does not end in a newline; its last output: hello, world",
		"long":    "the first line on standard output exceeds 65536 bytes",
		"endless": "the first line on standard output exceeds 65536 bytes",
		"old":     "incompatible API version with plugin. Plugin version: 99, Client versions: [1]",
		"ancient": "incompatible core API version with plugin. Plugin version: 0",
		"net rpc": `unsupported plugin protocol "netrpc"`,
		"tcp":     `listens on "tcp", expected a unix socket`,
		"nowhere": "/nowhere",
		"deaf":    "not ready within",
		"refuses": "there is no such region (configuration: region)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, name)
			if name == "silent" || name == "unended" || name == "deaf" {
				o.Start = time.Second
			} else {
				o.Start = 20 * time.Second
			}
			start := time.Now()
			b, err := newPlugin(t, o).Open(t.Context(), "", nil)
			if err == nil {
				b.Close(t.Context())
				t.Fatal("it starts")
			}
			if text := err.Error(); !strings.HasPrefix(text, "plugin "+name+": ") || !strings.Contains(text, want) || len(text) > 8<<10 {
				t.Errorf("%v, want %q", err, want)
			}
			if took := time.Since(start); took > o.Start+15*time.Second {
				t.Errorf("it took %s", took)
			}
			if name == "refuses" {
				if e := storage.AsError(err); e.Code != storage.InvalidArgument || e.ConfigPath != "region" {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

// What is wrong with the executable is known before anything is started.
func TestCannotBeRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, script, other := write("plain", 0o600), write("script", 0o700), write("other.py", 0o600)
	const sum = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf" // of the script
	for name, c := range map[string]struct {
		o    procs.Options
		want string
	}{
		"missing":        {procs.Options{Command: []string{filepath.Join(dir, "none")}}, "not found"},
		"not in PATH":    {procs.Options{Command: []string{"no-such-program"}}, "executable no-such-program not found"},
		"not executable": {procs.Options{Command: []string{plain}}, "is not executable"},
		"a folder":       {procs.Options{Command: []string{dir}}, "is"},
		"none":           {procs.Options{}, "the command is empty"},
		"digest":         {procs.Options{Command: []string{script}, SHA256: strings.Repeat("0", 64)}, "the SHA-256 of " + script + " is " + sum},
		"bad digest":     {procs.Options{Command: []string{script}, SHA256: "12"}, "is not 64 hex digits"},
		"file unpinned":  {procs.Options{Command: []string{script, other}, SHA256: sum}, "argument " + other + " is a file with no digest in process.files"},
		"file":           {procs.Options{Command: []string{script, other}, SHA256: sum, Files: map[string]string{other: strings.Repeat("1", 64)}}, "the SHA-256 of " + other},
		"frame":          {procs.Options{Command: []string{script}, MaxFrame: 5}, "max_frame is 5"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Name = "acme"
			_, err := procs.New(c.o)
			if err == nil || !strings.HasPrefix(err.Error(), "plugin acme: ") || !strings.Contains(err.Error(), c.want) || !errors.Is(err, storage.ErrInvalidArgument) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := procs.New(procs.Options{Command: []string{script, other}, SHA256: sum, Files: map[string]string{other: sum}}); err != nil {
		t.Error(err)
	}
}

// A plugin that breaks the protocol is ended, and its callers hear why.
func TestBreaksTheProtocol(t *testing.T) {
	for name, want := range map[string]string{"another id": "unknown or already answered", "twice": "unknown or already answered", "4 GiB": "frame is 4294967299, limit is"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, options(t, name))
			var err error
			for range 2 { // the second answer may come after the first call
				if _, err = b.Get(t.Context(), []byte("k")); err != nil && errors.Is(err, storage.ErrUnavailable) {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			eventually(t, "it has failed", func() bool { return b.Status().State.String() == "failed" })
		})
	}
}

// A plugin that does not read, or never answers, is ended once it has been silent for
// as long as it may.
func TestHangs(t *testing.T) {
	for _, name := range []string{"no reader", "panics"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, name)
			o.Call = 300 * time.Millisecond
			b := open(t, o)
			key := []byte("hang")
			if name == "no reader" {
				key = make([]byte, 1<<20)
			}
			_, err := b.Get(t.Context(), key)
			if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "none of 1 calls answered for 300ms; the process was killed") {
				t.Error(err)
			}
			if _, err := b.Get(t.Context(), key); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// One that hangs is noticed although no caller has the patience to wait for that; one
// whose calls all take longer than their callers wait is left alone.
func TestHangsBehindImpatience(t *testing.T) {
	for _, plain := range []bool{false, true} {
		o := options(t, "panics")
		o.Plain, o.Call = plain, 600*time.Millisecond
		b := open(t, o)
		impatient := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := b.Get(ctx, []byte("wait"))
			return err
		}
		for end := time.Now().Add(3 * o.Call); time.Now().Before(end); {
			if err := impatient(); !errors.Is(err, storage.ErrTimeout) {
				t.Fatalf("plain %t: one that is slow: %v", plain, err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if err := syscall.Kill(b.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "one that hangs is ended", func() bool {
			_ = impatient()
			return b.Status().State == supervise.Failed
		})
		if s := b.Status(); !strings.Contains(s.LastLoss, "none of ") {
			t.Errorf("plain %t: %s", plain, s.LastLoss)
		}
	}
}

// eventually waits until something is so, as long as a busy machine may take.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 s it is not so that %s", what)
		}
	}
}

// A name that is too long or could forge a line is refused when the plugin is opened.
func TestNames(t *testing.T) {
	for _, name := range []string{"long name", "two lines"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := newPlugin(t, options(t, name)).Open(t.Context(), "", nil)
			if err == nil {
				b.Close(context.Background())
				t.Fatal("it is opened")
			}
			if text := err.Error(); len(text) > 400 || strings.ContainsAny(text, "\n\x1b") || !strings.Contains(text, "the backend's name") {
				t.Errorf("%.500q", text)
			}
		})
	}
}
