package isolate

import (
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of a module reaches its worker, but for trust, which isolation excludes,
// isolation, by which the carrier is chosen, and gate, which is the host's: its TestGateFull.
func TestNoSettingIsForgotten(t *testing.T) {
	p := carrier.Plugin{Name: "m", Path: func(path string) string { return path }}
	got := sentinel.Ignored(wasmhost.Config{}, map[string]any{"OnLoss": "restart"}, func(c wasmhost.Config) any {
		m, o := from(p, &c)
		return []any{m, o}
	})
	if want := []string{"Gate", "Isolation", "Trust"}; !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
	// Two settings go to both sides.
	limits := wasmhost.Config{Limits: wasmhost.Limits{Memory: 1 << 20, MaxFrame: 1 << 18}}
	if m, o := from(p, &limits); m.Memory != 1<<20 || o.Memory != 1<<20 || m.MaxFrame != 1<<18 || o.MaxFrame != 1<<18 {
		t.Errorf("the limits are %d and %d in the worker, %d and %d for it", m.Memory, m.MaxFrame, o.Memory, o.MaxFrame)
	}
}
