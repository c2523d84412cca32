package wasmhost

import (
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of a module reaches it, but for its file, which is read, and its isolation,
// by which the carrier is chosen.
func TestNoSettingIsForgotten(t *testing.T) {
	others := map[string]any{"OnLoss": "restart", "Trust": "trusted"}
	got := sentinel.Ignored(Config{}, others, func(c Config) any { return c.options(carrier.Plugin{Name: "m"}) })
	if want := []string{"Isolation", "Wasm"}; !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
}
