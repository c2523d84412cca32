package main

import (
	"context"
	"errors"
	"testing"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The backend is plain Go, and so is its test.
func TestDictionary(t *testing.T) {
	ctx := context.Background()
	b, err := open(ctx, sdk.Env{Config: []byte(`{"words": {"eins": "one", "zwei": "two", "drei": "three"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	s := storage.New(b, storage.Settings{})
	if v, err := s.Get(ctx, []byte("zwei")); err != nil || string(v) != "two" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := s.Get(ctx, []byte("vier")); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
	var keys string
	for it, err := range s.Range(ctx, []byte("e"), nil, storage.RangeOptions{PageItems: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		keys += string(it.Key) + " "
	}
	if keys != "eins zwei " {
		t.Error(keys)
	}
	if err := s.Set(ctx, []byte("vier"), []byte("four")); !errors.Is(err, storage.ErrUnsupported) {
		t.Error(err)
	}
}

func TestConfiguration(t *testing.T) {
	for config, path := range map[string]string{``: "words", `{}`: "words", `{"word": {}}`: "word", `{"words": 1}`: "words"} {
		_, err := open(context.Background(), sdk.Env{Config: []byte(config)})
		var e *storage.Error
		if !errors.As(err, &e) || e.ConfigPath != path {
			t.Errorf("%s: %v", config, err)
		}
	}
}
