package native

import (
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of a worker reaches it, but for isolation, by which the carrier is chosen.
func TestNoSettingIsForgotten(t *testing.T) {
	p := carrier.Plugin{Name: "p", Path: func(path string) string { return path }, Settings: carrier.Settings{Telemetry: []byte("otel")}}
	others := map[string]any{"OnLoss": "restart", "Process.Plane": "grpc"}
	got := sentinel.Ignored(ProcessConfig{}, others, func(c ProcessConfig) any { return c.options(p) })
	if want := []string{"Isolation"}; !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
}
