package procs

import (
	"path"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of a process reaches it, but for its gate, which is the host's: its
// TestRefusedReloads.
func TestNoSettingIsForgotten(t *testing.T) {
	p := carrier.Plugin{Name: "p", Path: func(path string) string { return path }, Settings: carrier.Settings{Telemetry: []byte("otel")}}
	base := Config{Process: Executable{Command: []string{"plugin"}}}
	others := map[string]any{"OnLoss": "restart", "Process.TLS": "off", "Process.Transport": "grpc"}
	if got := sentinel.Ignored(base, others, func(c Config) any { return c.options(p) }); !slices.Equal(got, []string{"Gate"}) {
		t.Errorf("%q are forgotten, want only Gate", got)
	}
	// One setting has two meanings: the limit that the plugin is given, and the one that
	// the system enforces.
	base.Limits.Memory = 1 << 20
	if o := base.options(p); o.Memory != 1<<20 || o.Limit != 1<<20 {
		t.Errorf("limits.memory is told as %d, and enforced as %d", o.Memory, o.Limit)
	}
}

// What the reference prints as a default is what is in force, also where it is not set.
func TestDefaults(t *testing.T) {
	made := func(c Config) string {
		c.Process.Command = []string{"plugin"}
		o := c.options(carrier.Plugin{})
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		o.Restart, o.Log = o.Restart.WithDefaults(), nil
		return sentinel.Print(o)
	}
	if printed, silent := made(DefaultConfig()), made(Config{}); printed != silent {
		t.Errorf("printed:\n%s\nin force:\n%s", printed, silent)
	}
}

// Every op has a method of the service.
func TestMethods(t *testing.T) {
	service := abipb.File_plinth_backend_v1_backend_proto.Services().ByName("Backend")
	for op := range abi.Ops() {
		name := methods[op]
		method := service.Methods().ByName(protoreflect.Name(path.Base(name)))
		if method == nil || strings.ReplaceAll(op.String(), "_", "") != strings.ToLower(string(method.Name())) {
			t.Errorf("%s has the method %q", op, name)
		}
	}
}
