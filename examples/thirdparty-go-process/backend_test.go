package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// What is acknowledged is there again after an end at any moment, that is, with the
// journal cut anywhere behind it.
func TestJournal(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "journal")
	config := []byte(`{"path": "` + path + `"}`)
	start := func() *storage.Store {
		t.Helper()
		b, err := open(ctx, sdk.Env{Config: config, Incarnation: [16]byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		return storage.New(b, storage.Settings{})
	}
	s := start()
	if err := s.Set(ctx, []byte("a"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.GetItem(ctx, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, []byte("b"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(first); n <= len(whole); n++ {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s := start()
		it, err := s.GetItem(ctx, []byte("a"))
		if err != nil || string(it.Value) != "1" || it.Version != before.Version {
			t.Fatalf("cut at %d of %d: %+v, %v", n, len(whole), it, err)
		}
		if _, err := s.Get(ctx, []byte("b")); (err == nil) != (n == len(whole)) || err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("cut at %d of %d: what was not acknowledged: %v", n, len(whole), err)
		}
		if err := s.Set(ctx, []byte("c"), nil); err != nil { // it goes on
			t.Fatal(err)
		}
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfig(t *testing.T) {
	for config, path := range map[string]string{`{"path": ""}`: "path", `{"pth": "x"}`: "pth", `{"path": "/none/journal"}`: "path"} {
		_, err := open(t.Context(), sdk.Env{Config: []byte(config)})
		if e := storage.AsError(err); e == nil || e.Code != storage.InvalidArgument || e.ConfigPath != path {
			t.Errorf("%s: %v", config, err)
		}
	}
}
