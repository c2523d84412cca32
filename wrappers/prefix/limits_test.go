package prefix_test

import (
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/prefix"
)

// shrinking is a backend whose limits change, as those of a remote may.
type shrinking struct {
	storage.UnimplementedBackend
	limits storage.Limits
}

func (s *shrinking) Info() storage.Info { return storage.Info{Limits: s.limits} }

// A limit that becomes smaller than the prefix does not become no limit.
func TestLimitsThatShrink(t *testing.T) {
	below := &shrinking{limits: storage.Limits{Key: 10, Ops: 1, WriteBytes: 100}}
	b, err := prefix.New(below, prefix.Config{Prefix: "app/"}, wrappers.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, smaller := range []storage.Limits{{Key: 4, Ops: 1, WriteBytes: 8}, {Key: 1, Ops: 1, WriteBytes: 1}} {
		below.limits = smaller
		if l := b.Info().Limits; l.Key < 1 || l.WriteBytes < 1 {
			t.Errorf("below %+v, above %+v", smaller, l)
		}
	}
}
