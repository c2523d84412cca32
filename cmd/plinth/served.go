package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// served is a store on a server, over HTTP or gRPC. Errors have their exit code.
type served interface {
	// info returns what the store can do.
	info(ctx context.Context) (storage.Info, error)
	// get writes the value at key.
	get(ctx context.Context, key []byte, w io.Writer) error
	// put stores an item if the key is as expected.
	put(ctx context.Context, p newItem, e expected) error
	delete(ctx context.Context, key []byte) error
	// load applies puts, all or none.
	load(ctx context.Context, ops []storage.Op) error
	// scan hands every item of a range to each. One that ends early is an error.
	scan(ctx context.Context, q scanQuery, each func(line) error) error
	// watch hands every change to each, as a line of JSON, until ctx ends or the connection
	// breaks, which is an error.
	watch(ctx context.Context, q watchQuery, each func(watched) error) error
	// version is that of the store's state now.
	version(ctx context.Context) (uint64, error)
	// clear removes a range; the one without bounds is everything.
	clear(ctx context.Context, b bounds) error
	close() error
}

// newItem is what a put stores.
type newItem struct {
	key, value []byte
	ttl        *time.Duration // nil means no expiry
}

// expected is the condition of a put; none if kind is 0.
type expected struct {
	kind    storage.CheckKind
	value   []byte
	version uint64
}

// scanQuery is a range of items, and which of them.
type scanQuery struct {
	bounds   bounds
	limit    int // 0 means all
	reverse  bool
	keysOnly bool
	at       uint64 // the version of the state to read, which requires CapSnapshotScan; if 0, each page is of the present
}

// String returns the address and the name.
func (t target) String() string { return strings.TrimSuffix(t.Server.Addr, "/") + "/" + t.Store }

// open opens the store that the flags name.
func (t target) open(ctx context.Context) (served, error) {
	if t.Store == "" {
		return nil, usagef("--store must not be empty: omit it for the store named default")
	}
	if strings.HasPrefix(t.Server.Addr, "grpc") {
		return t.overGRPC(ctx)
	}
	return t.overHTTP()
}

// with opens the store for one command.
func (t target) with(ctx context.Context, do func(served) error) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.close())
}

// readValue returns a value from an argument, or from standard input for "-".
func readValue(arg string, stdin io.Reader) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	value, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return value, nil
}
