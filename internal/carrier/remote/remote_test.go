package remote

import (
	"testing"

	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of another host reaches the connection.
func TestNoSettingIsForgotten(t *testing.T) {
	same := func(path string) string { return path }
	for _, path := range sentinel.Ignored(Config{}, nil, func(c Config) any { return c.client(same) }) {
		t.Errorf("%s is forgotten", path)
	}
}
