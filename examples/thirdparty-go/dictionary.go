package main

import (
	"context"
	"maps"
	"slices"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// dictionary serves the words of its configuration. They cannot be changed, so it keeps
// nothing between calls, and several instances may serve at once.
type dictionary struct {
	storage.UnimplementedBackend // Apply: unsupported
	words                        map[string]string
	order                        []string
}

type config struct {
	Words map[string]string `json:"words"`
}

// open implements sdk.Opener.
func open(_ context.Context, env sdk.Env) (storage.Backend, error) {
	var c config
	if err := sdk.DecodeConfig(env.Config, &c); err != nil {
		return nil, err
	}
	if len(c.Words) == 0 {
		return nil, sdk.ConfigErrorf("words", "a dictionary needs words")
	}
	env.WithDefaults().Log.Info("opened", "words", len(c.Words))
	return &dictionary{words: c.Words, order: slices.Sorted(maps.Keys(c.Words))}, nil
}

func (d *dictionary) Info() storage.Info {
	return storage.Info{Name: "dictionary", Version: "1", Caps: storage.CapOrdered | storage.CapSnapshotGet | storage.CapStateless | storage.CapDurable}
}

func (d *dictionary) Get(_ context.Context, key []byte) (storage.Item, error) {
	word, ok := d.words[string(key)]
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	return storage.Item{Value: []byte(word)}, nil
}

func (d *dictionary) GetMany(_ context.Context, keys [][]byte) ([]storage.Item, error) {
	var items []storage.Item
	for _, key := range keys {
		if word, ok := d.words[string(key)]; ok {
			items = append(items, storage.Item{Key: []byte(string(key)), Value: []byte(word)})
		}
	}
	return items, nil
}

// Scan returns pages of at most 100 words.
func (d *dictionary) Scan(_ context.Context, q storage.Query) (page storage.Page, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	if q.Reverse || q.AtVersion != 0 {
		return page, storage.ErrUnsupported
	}
	limit := 100
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	from, _ := slices.BinarySearch(d.order, string(q.Start))
	for _, key := range d.order[from:] {
		if !storage.InRange([]byte(key), q.Start, q.End) {
			break
		}
		if len(page.Items) == limit {
			page.Next = []byte(key)
			break
		}
		item := storage.Item{Key: []byte(key)}
		if !q.KeysOnly {
			item.Value = []byte(d.words[key])
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

func (d *dictionary) Health(context.Context, storage.Probe) (storage.Health, error) {
	return storage.Health{Status: storage.Healthy}, nil
}
