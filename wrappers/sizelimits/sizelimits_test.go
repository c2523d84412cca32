package sizelimits_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/sizelimits"
)

// counting counts the calls that come through.
type counting struct {
	storage.Backend
	calls int
}

func (c *counting) Get(ctx context.Context, key []byte) (storage.Item, error) {
	c.calls++
	return c.Backend.Get(ctx, key)
}

func (c *counting) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	c.calls++
	return c.Backend.GetMany(ctx, keys)
}

func (c *counting) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	c.calls++
	return c.Backend.Apply(ctx, w)
}

// What is exactly as large as allowed passes; a byte more is refused before any
// work is done, with the limit in the error.
func TestLimits(t *testing.T) {
	ctx := context.Background()
	below := &counting{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
	b, err := sizelimits.New(below, sizelimits.Config{Key: 4, Value: 6, Ops: 3, WriteBytes: 12, Rows: 2}, wrappers.Settings{Stage: "limits"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) storage.Op { return storage.Put([]byte(key), []byte(value)) }
	check := func(key string) storage.Check { return storage.Absent([]byte(key)) }
	apply := func(w storage.WriteSet) func() error {
		return func() error { _, err := b.Apply(ctx, &w); return err }
	}
	for _, c := range []struct {
		name string
		call func() error
		kind string // empty if it passes
		max  int64
		got  int64
	}{
		{"key of a put", apply(storage.WriteSet{Ops: []storage.Op{put("1234", "")}}), "", 0, 0},
		{"too long", apply(storage.WriteSet{Ops: []storage.Op{put("12345", "")}}), "key", 4, 5},
		{"value", apply(storage.WriteSet{Ops: []storage.Op{put("v", "123456")}}), "", 0, 0},
		{"too long", apply(storage.WriteSet{Ops: []storage.Op{put("v", "1234567")}}), "value", 6, 7},
		{"the key before the value", apply(storage.WriteSet{Ops: []storage.Op{put("12345", "1234567")}}), "key", 4, 5},
		{"a size before a check", apply(storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("1234"))}, Ops: []storage.Op{put("a", "1234567")}}), "value", 6, 7},
		{"key of a delete", apply(storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("12345"))}}), "key", 4, 5},
		{"key of a check", apply(storage.WriteSet{Checks: []storage.Check{check("12345")}}), "key", 4, 5},
		{"bounds of a range", apply(storage.WriteSet{Ops: []storage.Op{storage.DeleteRange([]byte("xxxxx"), []byte("yyyyy"))}}), "", 0, 0},
		{"ops", apply(storage.WriteSet{Ops: []storage.Op{put("a", ""), put("b", "")}, Checks: []storage.Check{check("c")}}), "", 0, 0},
		{"too many", apply(storage.WriteSet{Ops: []storage.Op{put("a", ""), put("b", "")}, Checks: []storage.Check{check("c"), check("d")}}), "ops", 3, 4},
		{"bytes", apply(storage.WriteSet{Ops: []storage.Op{put("1", "12345"), put("2", "12345")}}), "", 0, 0},
		{"too many", apply(storage.WriteSet{Ops: []storage.Op{put("1", "12345"), put("2", "123456")}}), "write set bytes", 12, 13},
		{"key of a get", func() error { _, err := b.Get(ctx, []byte("1234")); return err }, "", 0, 0},
		{"too long", func() error { _, err := b.Get(ctx, []byte("12345")); return err }, "key", 4, 5},
		{"keys of a get of many", func() error { _, err := b.GetMany(ctx, [][]byte{{}, []byte("12345")}); return err }, "key", 4, 5},
	} {
		before := below.calls
		err := c.call()
		var e *storage.Error
		switch {
		case c.kind == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.kind != "" && (!errors.As(err, &e) || e.Code != storage.SizeLimit || e.Limit != (storage.Limit{Kind: c.kind, Max: c.max, Actual: c.got}) || e.Layer != "limits"):
			t.Errorf("%s: %+v", c.name, err)
		case c.kind != "" && below.calls != before:
			t.Errorf("%s: it was asked for all the same", c.name)
		}
	}
	page, err := b.Scan(ctx, storage.Query{Limit: 100})
	if err != nil || len(page.Items) != 2 || page.Next == nil {
		t.Errorf("a page has %d items, %v", len(page.Items), err)
	}
	if l := b.Info().Limits; l.Key != 4 || l.Value != 6 || l.Ops != 3 || l.WriteBytes != 12 || l.GetKeys != below.Info().Limits.GetKeys {
		t.Errorf("%+v", l)
	}
}

func TestConfig(t *testing.T) {
	below := memory.New(memory.DefaultConfig(), sdk.Env{})
	for _, c := range []struct {
		config sizelimits.Config
		fields string // those that are wrong
	}{
		{sizelimits.Config{}, ""},
		{sizelimits.Config{Key: below.Info().Limits.Key}, ""},
		{sizelimits.Config{Key: below.Info().Limits.Key + 1, Value: 1 << 30}, "key value"},
		{sizelimits.Config{Key: -1, Value: -1, Ops: -1, WriteBytes: -1, Rows: -1}, "key value ops write_bytes rows"},
	} {
		_, err := sizelimits.Factory().Build(below, set(c.config), wrappers.Settings{})
		if (err == nil) != (c.fields == "") {
			t.Errorf("%+v: %v", c.config, err)
		}
		for f := range strings.FieldsSeq(c.fields) {
			if !strings.Contains(err.Error(), f+": ") {
				t.Errorf("%+v: %s is not named in %v", c.config, f, err)
			}
		}
	}
}

// set decodes as itself.
type set sizelimits.Config

func (s set) Decode(v any) error { *v.(*sizelimits.Config) = sizelimits.Config(s); return nil }
