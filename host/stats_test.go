package host

import (
	"context"
	"fmt"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// talkative reports details.
type talkative struct {
	storage.UnimplementedBackend
	details map[string]string
}

func (t talkative) Health(context.Context, storage.Probe) (storage.Health, error) {
	return storage.Health{Status: storage.Healthy, Details: t.details}, nil
}

// What a backend says is a metric where it is a number under a name that can be a label, and
// not more of them than are needed.
func TestStats(t *testing.T) {
	got := stats(t.Context(), talkative{details: map[string]string{
		"used_bytes": "7", "state": "ready", "restarts": "3", "Not a name": "1", "": "1", "float": "1.5", "negative": "-1"}})
	if fmt.Sprint(got) != "map[negative:-1 used_bytes:7]" {
		t.Errorf("%v", got)
	}
	many := map[string]string{}
	for i := range 1000 {
		many[fmt.Sprintf("n%d", i)] = "1"
	}
	if got := stats(t.Context(), talkative{details: many}); len(got) != mostStats {
		t.Errorf("%d series", len(got))
	}
}
