package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// grpcStore reaches a served store over gRPC.
type grpcStore struct {
	client *client.Client
	store  *storage.Store
}

// dialTimeout limits how long a server may take to be reached.
const dialTimeout = 10 * time.Second

func (t target) overGRPC(ctx context.Context) (*grpcStore, error) {
	token, err := t.Server.token()
	if err != nil {
		return nil, err
	}
	if err := t.Server.verify(); err != nil {
		return nil, err
	}
	c := client.Config{Store: t.Store, Token: secret.Copy(token), ConnectTimeout: dialTimeout}
	scheme, address, _ := strings.Cut(strings.TrimSuffix(t.Server.Addr, "/"), ":")
	switch host, slashes := strings.CutPrefix(address, "//"); {
	case scheme == "grpc+unix":
		c.Address = "unix:" + address
	case scheme == "grpc" && slashes:
		c.Address = host
	case scheme == "grpcs" && slashes:
		c.Address, c.TLS = host, t.Server.tls()
		c.TLS.CA = cmp.Or(c.TLS.CA, client.SystemCA)
	}
	if scheme != "grpcs" && t.Server.tls() != (client.TLS{}) {
		return nil, usagef("--addr %q: certificates require grpcs://", t.Server.Addr)
	}
	if err := c.Validate(); err != nil {
		return nil, usagef("--addr %q: %v", t.Server.Addr, err)
	}
	b, err := client.Dial(ctx, c, client.Settings{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		switch {
		case strings.Contains(err.Error(), "unexpected HTTP status code") || strings.Contains(err.Error(), "unexpected content-type"): // of grpc
			return nil, fmt.Errorf("the server at %s does not speak gRPC: is it the address of HTTP (http://…)?", c.Address)
		case storage.CodeOf(err) == storage.Unavailable:
			err = fmt.Errorf("cannot reach the server: %w (is \"plinth serve\" running?)", err)
		}
		return nil, exitOf(err)
	}
	return &grpcStore{b, storage.New(b, storage.Settings{})}, nil
}

// exitOf gives an error its exit code, and shows the code of the store.
func exitOf(err error) error {
	if err == nil {
		return nil
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	code := exitFailed
	switch storage.CodeOf(err) {
	case storage.NotFound:
		code = exitNotFound
	case storage.Conflict, storage.AlreadyExists:
		code = exitConflict
	}
	if storage.CodeOf(err) == storage.Internal && !errors.Is(err, storage.ErrInternal) { // not of a store
		return &exitError{code, err}
	}
	return &exitError{code, fmt.Errorf("%w (%s)", err, storage.CodeOf(err).Name())}
}

func (g *grpcStore) close() error { return g.client.Close(context.Background()) }

func (g *grpcStore) info(context.Context) (storage.Info, error) { return g.store.Info(), nil }

func (g *grpcStore) get(ctx context.Context, key []byte, w io.Writer) error {
	value, err := g.store.Get(ctx, key)
	if err != nil {
		return exitOf(err)
	}
	_, err = w.Write(value)
	return err
}

func (g *grpcStore) put(ctx context.Context, p newItem, e expected) error {
	op := storage.Put(p.key, p.value)
	if p.ttl != nil {
		at, err := storage.ExpiryAfter(g.store.Now(), *p.ttl)
		if err != nil {
			return exitOf(err)
		}
		op.ExpiresAt = at
	}
	w := storage.WriteSet{Ops: []storage.Op{op}}
	if e.kind != 0 {
		w.Checks = []storage.Check{{Kind: e.kind, Key: p.key, Value: e.value, Version: e.version}}
	}
	_, err := g.store.Apply(ctx, &w)
	return exitOf(err)
}

func (g *grpcStore) delete(ctx context.Context, key []byte) error {
	return exitOf(g.store.Delete(ctx, key))
}

func (g *grpcStore) load(ctx context.Context, ops []storage.Op) error {
	_, err := g.store.Apply(ctx, &storage.WriteSet{Ops: ops})
	return exitOf(err)
}

func (g *grpcStore) clear(ctx context.Context, b bounds) error {
	start, end := b.span()
	_, err := g.store.ClearRange(ctx, start, end)
	return exitOf(err)
}

func (g *grpcStore) scan(ctx context.Context, q scanQuery, each func(line) error) error {
	start, end := q.bounds.span()
	for it, err := range g.store.Range(ctx, start, end, storage.RangeOptions{Limit: q.limit, Reverse: q.reverse, KeysOnly: q.keysOnly, AtVersion: q.at}) {
		if err != nil {
			return exitOf(err)
		}
		l := line{key: it.Key, value: it.Value, version: it.Version}
		if !it.ExpiresAt.IsZero() {
			l.expiresAt = it.ExpiresAt.UTC().Format(strictjson.TimeForm)
		}
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

func (g *grpcStore) version(ctx context.Context) (uint64, error) {
	page, err := g.store.Backend().Scan(ctx, storage.Query{Limit: 1, KeysOnly: true})
	return page.Version, exitOf(err)
}

// span returns the range that the bounds are together; a nil end is unbounded.
func (b bounds) span() (start, end []byte) {
	if b.Start != nil {
		start = []byte(*b.Start)
	}
	if b.End != nil {
		end = append([]byte{}, *b.End...)
	}
	if b.Prefix == nil {
		return start, end
	}
	if prefix := []byte(*b.Prefix); string(prefix) > string(start) {
		start = prefix
	}
	if stop := storage.PrefixEnd([]byte(*b.Prefix)); stop != nil && (end == nil || string(stop) < string(end)) {
		end = stop
	}
	return start, end
}
