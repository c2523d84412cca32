//go:build unix

package procs

import (
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of a process reaches it.
func TestNoSettingIsForgotten(t *testing.T) {
	p := carrier.Plugin{Name: "p", Path: func(path string) string { return path }, Settings: carrier.Settings{Telemetry: []byte("otel")}}
	base := Config{Process: Executable{Command: []string{"plugin"}}}
	others := map[string]any{"OnLoss": "restart", "Process.TLS": "off", "Process.Plane": "grpc"}
	for _, path := range sentinel.Ignored(base, others, func(c Config) any { return c.options(p) }) {
		t.Errorf("%s is forgotten", path)
	}
}
