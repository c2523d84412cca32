// An index of users by city, which follows the store of the users and may be killed at any
// moment.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/pebble"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config := "follow.yaml"
	if len(os.Args) > 1 {
		config = os.Args[1]
	}
	if err := run(ctx, config); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, config string) (err error) {
	h, err := plinth.Open(ctx, config, plinth.WithBackend("pebble", pebble.Open, plinth.TriedBy(pebble.Info)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(context.Background())) }()
	users, err := h.Store("users")
	if err != nil {
		return err
	}
	index, err := h.Store("index")
	if err != nil {
		return err
	}
	i := &Index{Users: users.Store, Index: index.Store, Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	return i.Follow(ctx)
}
