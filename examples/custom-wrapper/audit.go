package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the YAML under "audit". Unknown names and wrong types are errors with their
// place in the file, without a word here.
type Config struct {
	Reads  bool   `yaml:"reads"`  // also gets
	Prefix string `yaml:"prefix"` // of the keys that matter; if empty, all
}

// Factory makes the wrappers of the kind audit, which write to w.
func Factory(w io.Writer) wrappers.Factory {
	declaration := wrappers.Declaration{
		Preserves: "everything",
		// It would see the writes of several callers as one.
		Never: []wrappers.Order{{Under: wrappers.Merges, Refuse: true, Why: "a line could not say whose write it is"}},
	}
	return wrappers.NewFactory("audit", declaration, func() Config { return Config{} },
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return &audit{next: next, config: c, store: s.Store, out: w}, nil
		})
}

// audit writes a line for each call that matters. It holds the next layer and
// writes out every method, so that a new one cannot slip past it.
type audit struct {
	next   storage.Backend
	config Config
	store  string
	out    io.Writer
}

func (a *audit) matters(key []byte) bool { return bytes.HasPrefix(key, []byte(a.config.Prefix)) }

func (a *audit) line(what string, key []byte, err error) {
	if a.matters(key) {
		fmt.Fprintf(a.out, "audit: %s %s of %d bytes: %s\n", a.store, what, len(key), storage.CodeOf(err).Name())
	}
}

func (a *audit) Get(ctx context.Context, key []byte) (storage.Item, error) {
	it, err := a.next.Get(ctx, key)
	if a.config.Reads {
		a.line("get", key, err)
	}
	return it, err
}

func (a *audit) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	items, err := a.next.GetMany(ctx, keys)
	for _, key := range keys {
		if a.config.Reads {
			a.line("get", key, err)
		}
	}
	return items, err
}

func (a *audit) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return a.next.Scan(ctx, q)
}

func (a *audit) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return a.next.Changes(ctx, q)
}

func (a *audit) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	version, err := a.next.Apply(ctx, w)
	for _, op := range w.Ops {
		a.line("write", op.Key, err)
	}
	return version, err
}

func (a *audit) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return a.next.Health(ctx, p)
}

func (a *audit) Info() storage.Info { return a.next.Info() }

// Close has nothing to close: the host owns what is below.
func (a *audit) Close(context.Context) error { return nil }
