package wrappers_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

type config struct{ Size int }

func (c config) Validate() error {
	if c.Size < 0 {
		return wrappers.Fieldf("size", "is negative (%d)", c.Size)
	}
	return nil
}

// decoder sets the size, or fails.
type decoder struct {
	size int
	err  error
}

func (d decoder) Decode(v any) error {
	v.(*config).Size = d.size
	return d.err
}

func TestFactory(t *testing.T) {
	var built *config
	make := func(needs storage.Caps) wrappers.Factory {
		return wrappers.NewFactory("kind", wrappers.Declaration{Needs: needs}, func() config { return config{Size: 7} },
			func(next storage.Backend, c config, _ wrappers.Settings) (storage.Backend, error) {
				built = &c
				return next, nil
			})
	}
	below := memory.New(memory.DefaultConfig(), sdk.Env{})
	bad := errors.New("bad")
	for _, c := range []struct {
		name  string
		needs storage.Caps
		with  wrappers.Decoder
		size  int
		fails string
	}{
		{name: "no configuration: the defaults", size: 7},
		{name: "decoded over the defaults", with: decoder{size: 3}, size: 3},
		{name: "what does not decode", with: decoder{err: bad}, fails: "bad"},
		{name: "what is not valid", with: decoder{size: -1}, fails: "size: is negative (-1)"},
		{name: "a capability that is there", needs: storage.CapAtomic, size: 7},
		{name: "one that is missing", needs: storage.CapDurable, fails: "kind needs the capability durable, which is missing below it"},
	} {
		built = nil
		_, err := make(c.needs).Build(below, c.with, wrappers.Settings{})
		switch {
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || built != nil):
			t.Errorf("%s: %v", c.name, err)
		case c.fails == "" && (err != nil || built == nil || built.Size != c.size):
			t.Errorf("%s: %v, %v", c.name, built, err)
		}
	}
}

func TestRegistry(t *testing.T) {
	factory := func(kind string) wrappers.Factory {
		return wrappers.NewFactory(kind, wrappers.Declaration{}, func() config { return config{} }, nil)
	}
	r, err := wrappers.NewRegistry(factory("b"), factory("a"))
	if err != nil || strings.Join(r.Kinds(), " ") != "a b" {
		t.Fatalf("%v, %v", r.Kinds(), err)
	}
	if f, ok := r.Lookup("a"); !ok || f.Kind() != "a" {
		t.Error("a is not found")
	}
	if _, ok := r.Lookup("c"); ok {
		t.Error("c is found")
	}
	if _, ok := new(wrappers.Registry).Lookup("a"); ok {
		t.Error("the zero registry is not empty")
	}
	if _, err := wrappers.NewRegistry(factory("a"), factory("a")); err == nil {
		t.Error("two of a kind")
	}
}
