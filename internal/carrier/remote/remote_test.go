package remote

import (
	"testing"

	"github.com/plinthkv/plinth/internal/sentinel"
)

// What the reference prints as a default is what is in force, also where it is not set.
func TestDefaults(t *testing.T) {
	same := func(path string) string { return path }
	printed, silent := DefaultConfig(), Config{}
	if p, s := printed.client(same).WithDefaults(), silent.client(same).WithDefaults(); p != s || printed.Attempts == 0 {
		t.Errorf("printed: %+v, in force: %+v", p, s)
	}
}

// Every setting of another host reaches the connection.
func TestNoSettingIsForgotten(t *testing.T) {
	same := func(path string) string { return path }
	for _, path := range sentinel.Ignored(Config{}, nil, func(c Config) any { return c.client(same) }) {
		t.Errorf("%s is forgotten", path)
	}
}
