// Command custom-wrapper is a host with a wrapper of its own: audit, which writes a
// line for every write. A pipeline names it like any other, and "check" knows what
// it needs and changes.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/plinthkv/plinth"
)

const pipeline = `
stores:
  default:
    backend: { plugin: memory }
    pipeline:
      - instrument
      - audit: { reads: true, prefix: users/ }
      - cache
`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	h, err := plinth.Open(ctx, "", plinth.WithContent([]byte(pipeline)), plinth.WithWrappers(Factory(os.Stdout)))
	if err != nil {
		return err
	}
	defer h.Close(ctx)
	users, err := h.Store("default")
	if err != nil {
		return err
	}
	if err := users.Set(ctx, []byte("users/ada"), []byte("Ada Lovelace")); err != nil {
		return err
	}
	name, err := users.Get(ctx, []byte("users/ada"))
	fmt.Printf("%s\n", name)
	return err
}
