package plinth_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// A configuration may be a file, text, or values made in Go, as here.
func ExampleOpen() {
	ctx := context.Background()
	h, err := plinth.Open(ctx, "", plinth.WithValues(map[string]any{
		"stores": map[string]any{"sessions": map[string]any{
			"backend":  map[string]any{"plugin": "memory"},
			"pipeline": []any{"instrument", map[string]any{"cache": map[string]any{"ttl": "60s"}}},
		}},
	}))
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)

	sessions, err := h.Store("sessions")
	if err != nil {
		panic(err)
	}
	if err := sessions.Set(ctx, []byte("hello"), []byte("world")); err != nil {
		panic(err)
	}
	value, err := sessions.Get(ctx, []byte("hello"))
	fmt.Printf("%s, %v\n", value, err)

	_, err = h.Store("session")
	fmt.Println(err)
	for _, p := range h.Plugins() {
		fmt.Println(p.Plugin, p.Carrier, p.State, p.Stores)
	}
	fmt.Println(h.Health(ctx, storage.Readiness).Status)
	// Output:
	// world, <nil>
	// unknown store "session": did you mean "sessions"?
	// memory native ready [sessions]
	// healthy
}

// clockwork is a backend of one's own: read only, with one key.
type clockwork struct {
	storage.UnimplementedBackend // all other methods: unsupported
	ticks                        atomic.Int64
}

func (*clockwork) Info() storage.Info { return storage.Info{Name: "clockwork", Version: "1"} }

func (c *clockwork) Get(_ context.Context, key []byte) (storage.Item, error) {
	if string(key) != "ticks" {
		return storage.Item{}, storage.ErrNotFound
	}
	return storage.Item{Value: fmt.Append(nil, c.ticks.Add(1))}, nil
}

// A backend in Go is a plugin like any other: a configuration names it, and puts wrappers
// around it.
func ExampleWithBackend() {
	ctx := context.Background()
	open := func(context.Context, sdk.Env) (storage.Backend, error) { return &clockwork{}, nil }
	h, err := plinth.Open(ctx, "", plinth.WithBackend("clockwork", open), plinth.WithContent([]byte(`
stores: { tower: { backend: { plugin: clockwork }, pipeline: [instrument, size_limits: { key: 100 }] } }`)))
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	tower, err := h.Store("tower")
	if err != nil {
		panic(err)
	}
	for range 2 {
		value, err := tower.Get(ctx, []byte("ticks"))
		fmt.Printf("%s, %v\n", value, err)
	}
	fmt.Println(storage.CodeOf(tower.Set(ctx, []byte("ticks"), nil)).Name())
	// Output:
	// 1, <nil>
	// 2, <nil>
	// unsupported
}

// A configuration changes while a program runs: the store that it has goes through the new
// pipeline, with what is stored.
func ExampleHost_Reload() {
	ctx := context.Background()
	yaml := func(stage string) plinth.Option {
		return plinth.WithContent([]byte("stores: { default: { backend: { plugin: memory }, pipeline: [" + stage + "] } }"))
	}
	h, err := plinth.Open(ctx, "", yaml("cache"))
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	store, err := h.Store("default")
	if err != nil {
		panic(err)
	}
	if err := store.Set(ctx, []byte("hello"), []byte("world")); err != nil {
		panic(err)
	}

	cfg, err := plinth.Load("", yaml("size_limits: { value: 3 }, cache"))
	if err != nil {
		panic(err)
	}
	changes, err := h.Reload(ctx, cfg)
	if err != nil {
		panic(err) // everything is as it was
	}
	value, err := store.Get(ctx, []byte("hello"))
	fmt.Println(changes, string(value), err)
	fmt.Println(store.Set(ctx, []byte("hello"), []byte("world")))
	// Output:
	// rebuild store default world <nil>
	// size_limits: apply: size limit exceeded: value is 5, limit is 3
}
