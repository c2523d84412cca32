package native

import (
	"reflect"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// What the reference prints as a default is what is in force, also where it is not set: of
// a worker by its executable's defaults, see package procs.
func TestDefaults(t *testing.T) {
	own, process := DefaultProcessConfig(), procs.DefaultConfig()
	process.Grants.Telemetry = true // which a worker has by default
	if own.Process != process.Process.Running || !reflect.DeepEqual(own.Common, process.Common) {
		t.Errorf("a worker has the defaults %+v, an executable %+v", own, process)
	}
	silent := Config{}.Restart.Policy().WithDefaults()
	if got := DefaultConfig(); got.Restart.Policy().WithDefaults() != silent || got.Restarts() || got.Restart.Budget == 0 {
		t.Errorf("the defaults are %+v", got)
	}
}

// Every setting of a worker reaches it, but for isolation, by which the carrier is chosen.
func TestNoSettingIsForgotten(t *testing.T) {
	p := carrier.Plugin{Name: "p", Path: func(path string) string { return path }, Settings: carrier.Settings{Telemetry: []byte("otel")}}
	others := map[string]any{"OnLoss": "restart", "Process.Transport": "grpc"}
	got := sentinel.Ignored(ProcessConfig{}, others, func(c ProcessConfig) any { return c.options(p) })
	if want := []string{"Isolation"}; !slices.Equal(got, want) {
		t.Errorf("%q do nothing, want %q", got, want)
	}
}
