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
	e := env{stdout: io.Discard, stderr: io.Discard, environ: []string{"PLINTH_CACHE_DIR=" + t.TempDir()}}
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
		if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN); err != nil {
			t.Fatal(err)
		}
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		events := make([]byte, 4096)
		n, err := syscall.Read(fd, events)
		if opened := n / syscall.SizeofInotifyEvent; err != nil || opened != 1 { // events of a file have no name
			t.Errorf("%s opened it %d times, %v", name, opened, err)
		}
		syscall.Close(fd)
	}
}
