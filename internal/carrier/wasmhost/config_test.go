package wasmhost

import (
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// What the reference prints as a default is what is in force, also where it is not set.
func TestDefaults(t *testing.T) {
	made := func(c Config) string {
		o := c.options(carrier.Plugin{})
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		if o.Memory != DefaultMemory || o.Call != DefaultCall { // which the text of the page has
			t.Errorf("memory is %d, and a call takes %s", o.Memory, o.Call)
		}
		o.Restart, o.Log = o.Restart.WithDefaults(), nil
		return sentinel.Print(o)
	}
	if printed, silent := made(DefaultConfig()), made(Config{}); printed != silent {
		t.Errorf("printed:\n%s\nin force:\n%s", printed, silent)
	}
}

// Every setting of a module reaches it, but for its file, which is read, its isolation, by
// which the carrier is chosen, and its gate, which is the host's: its TestGateFull.
func TestNoSettingIsForgotten(t *testing.T) {
	others := map[string]any{"OnLoss": "restart", "Trust": "trusted"}
	got := sentinel.Ignored(Config{}, others, func(c Config) any { return c.options(carrier.Plugin{Name: "m"}) })
	if want := []string{"Gate", "Isolation", "Wasm"}; !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
}
