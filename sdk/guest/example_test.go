package guest_test

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/guest"
	"github.com/plinthkv/plinth/storage"
)

// greeter is a read-only backend that greets whatever it is asked for.
type greeter struct {
	storage.UnimplementedBackend // all other methods: unsupported
	config
}

type config struct {
	Greeting string `json:"greeting"`
}

func open(_ context.Context, env sdk.Env) (storage.Backend, error) {
	c := config{Greeting: "Hello"}
	if err := sdk.DecodeConfig(env.Config, &c); err != nil {
		return nil, err
	}
	return greeter{config: c}, nil
}

func (greeter) Info() storage.Info { return storage.Info{Name: "greeter", Version: "1"} }

func (g greeter) Get(_ context.Context, key []byte) (storage.Item, error) {
	return storage.Item{Value: fmt.Appendf(nil, "%s, %s!", g.Greeting, key)}, nil
}

// A module serves its backend from an init function. The opener is plain Go, and is tested
// as such.
func ExampleServe() {
	guest.Serve(open) // in func init() of package main, built with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared

	ctx := context.Background()
	b, err := open(ctx, sdk.Env{Config: []byte(`{"greeting": "Ahoy"}`)})
	if err != nil {
		panic(err)
	}
	it, err := b.Get(ctx, []byte("Ada"))
	fmt.Printf("%s %v\n", it.Value, err)

	_, err = open(ctx, sdk.Env{Config: []byte(`{"greting": "Ahoy"}`)})
	fmt.Println(err)
	// Output:
	// Ahoy, Ada! <nil>
	// unknown field "greting": did you mean "greeting"? (configuration: greting)
}
