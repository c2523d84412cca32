package wrappers_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Reserved is what YAML holds for the wrapper reserved.
type Reserved struct {
	Prefix string `yaml:"prefix"` // of keys that must not be written
}

func (c *Reserved) Validate() error {
	if c.Prefix == "" {
		return wrappers.Fieldf("prefix", "is empty, which would refuse every write")
	}
	return nil
}

// reserved refuses writes of some keys. It holds the next layer and writes out every
// method, so that a new one cannot slip past it.
type reserved struct {
	next   storage.Backend
	prefix string
}

func (r *reserved) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	end := storage.PrefixEnd([]byte(r.prefix))
	for _, op := range w.Ops {
		one := op.Kind != storage.OpDeleteRange && strings.HasPrefix(string(op.Key), r.prefix)
		if many := op.Kind == storage.OpDeleteRange && (op.End == nil || string(op.End) > r.prefix) && (end == nil || string(op.Key) < string(end)); one || many {
			return 0, storage.Errorf(storage.PermissionDenied, "keys below %q are reserved", r.prefix)
		}
	}
	return r.next.Apply(ctx, w)
}

func (r *reserved) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return r.next.Get(ctx, key)
}

func (r *reserved) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return r.next.GetMany(ctx, keys)
}

func (r *reserved) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return r.next.Scan(ctx, q)
}

func (r *reserved) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return r.next.Changes(ctx, q)
}

func (r *reserved) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return r.next.Health(ctx, p)
}

func (r *reserved) Info() storage.Info            { return r.next.Info() }
func (r *reserved) Close(_ context.Context) error { return nil } // it holds nothing; the next layer is its owner's

// A wrapper of one's own is a kind that pipelines may name.
func Example() {
	factory := wrappers.NewFactory("reserved", wrappers.Declaration{Preserves: "everything"}, func() Reserved { return Reserved{} },
		func(next storage.Backend, c Reserved, _ wrappers.Settings) (storage.Backend, error) {
			return &reserved{next: next, prefix: c.Prefix}, nil
		})
	ctx := context.Background()
	open := func(yaml string) (*plinth.Host, error) {
		return plinth.Open(ctx, "plinth.yaml", plinth.WithWrappers(factory), plinth.WithContent([]byte(yaml)))
	}

	h, err := open("stores: { users: { backend: { plugin: memory }, pipeline: [reserved: { prefix: system/ }] } }")
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	users, err := h.Store("users")
	if err != nil {
		panic(err)
	}
	fmt.Println(users.Set(ctx, []byte("ada"), nil))
	fmt.Println(users.Set(ctx, []byte("system/root"), nil))

	_, err = open("stores: { users: { backend: { plugin: memory }, pipeline: [reserved: { prefix: '' }] } }")
	fmt.Println(err)
	// Output:
	// <nil>
	// keys below "system/" are reserved
	// plinth.yaml:1:80: stores.users.pipeline[0].reserved.prefix: is empty, which would refuse every write
}
