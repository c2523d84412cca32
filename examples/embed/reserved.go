package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// reservedNames lists names that no link may have, a line each.
//
//go:embed reserved.txt
var reservedNames string

// reserved is a backend of the service's own, in Go: the value of a key says why it is
// reserved. Methods that it does not implement return an unsupported error.
type reserved struct {
	storage.UnimplementedBackend
	why map[string]string
}

// openReserved makes the backend. It takes no configuration, and says so of any.
func openReserved(_ context.Context, env sdk.Env) (storage.Backend, error) {
	if err := sdk.DecodeConfig(env.Config, &struct{}{}); err != nil {
		return nil, err
	}
	r := reserved{why: map[string]string{}}
	for line := range strings.Lines(reservedNames) {
		name, why, _ := strings.Cut(strings.TrimSpace(line), " ")
		r.why[name] = why
	}
	return r, nil
}

func (reserved) Info() storage.Info {
	return storage.Info{Name: "reserved", Version: "1", Caps: storage.CapStateless}
}

func (r reserved) Get(_ context.Context, key []byte) (storage.Item, error) {
	why, ok := r.why[string(key)]
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	return storage.Item{Value: []byte(why)}, nil
}
