package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Commands read a configuration once: two loads might see two files.
func TestConfigurationIsReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(path, []byte("server: { http: '', grpc: '' }\ntelemetry: { file_format: '1.0' }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := env{stdout: io.Discard, stderr: io.Discard, environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}}
	for name, run := range map[string]func() error{
		"serve": func() error {
			err := (&serveCmd{Source: source{Config: path}, Log: "text"}).Run(context.Background(), e)
			if err == nil || !strings.Contains(err.Error(), "no address to serve on") {
				return err
			}
			return nil
		},
		"check": func() error { return (&checkCmd{File: path}).Run(context.Background(), e) },
	} {
		fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		// Equal events in a row are reported once: closing keeps those of opening apart.
		if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN|syscall.IN_CLOSE_NOWRITE); err != nil {
			t.Fatal(err)
		}
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		events := make([]byte, 4096)
		n, err := syscall.Read(fd, events)
		if seen := n / syscall.SizeofInotifyEvent; err != nil || seen != 2 { // of a file they have no names
			t.Errorf("%s opened and closed it %d times, %v; want 2", name, seen, err)
		}
		syscall.Close(fd)
	}
}
