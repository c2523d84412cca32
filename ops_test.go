package plinth_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/native"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
)

// asPlugin has this program be the memory backend, as a process.
const asPlugin = "PLINTH_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		process.Plugin{Open: memory.Open}.Serve()
	}
	os.Exit(m.Run())
}

// empty is a configuration that says nothing.
type empty struct{}

func (empty) Decode(any) error               { return nil }
func (empty) JSON() (json.RawMessage, error) { return nil, nil }

// ask asks a backend each op once.
var ask = map[abi.Op]func(context.Context, storage.Backend) error{
	abi.OpGet: func(ctx context.Context, b storage.Backend) error {
		_, err := b.Get(ctx, []byte("k"))
		return err
	},
	abi.OpGetMany: func(ctx context.Context, b storage.Backend) error {
		_, err := b.GetMany(ctx, [][]byte{[]byte("k")})
		return err
	},
	abi.OpScan: func(ctx context.Context, b storage.Backend) error {
		_, err := b.Scan(ctx, storage.Query{})
		return err
	},
	abi.OpApply: func(ctx context.Context, b storage.Backend) error {
		_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}})
		return err
	},
	abi.OpChanges: func(ctx context.Context, b storage.Backend) error {
		if _, err := b.Changes(ctx, storage.ChangeQuery{FromNow: true}); !errors.Is(err, storage.ErrUnsupported) { // the memory plugin leaves them to its host
			return err
		}
		return nil
	},
	abi.OpHealth: func(ctx context.Context, b storage.Backend) error {
		_, err := b.Health(ctx, storage.Readiness)
		return err
	},
}

// Every op is answered by every carrier, and has its span there.
func TestEveryOp(t *testing.T) {
	for name, open := range map[string]func(*testing.T, trace.TracerProvider) storage.Backend{
		"native": func(t *testing.T, p trace.TracerProvider) storage.Backend {
			c, err := native.Factory().New(t.Context(), carrier.Plugin{Name: "memory", Config: empty{}, Linked: &carrier.Linked{Open: memory.Open},
				Settings: carrier.Settings{Log: slog.New(slog.DiscardHandler), Clock: clock.System().Now, Tracer: p}})
			return opened(t, c, err)
		},
		"wasm": func(t *testing.T, p trace.TracerProvider) storage.Backend {
			r, err := wasmhost.NewRuntime(t.Context(), compiled(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close(context.Background()) })
			c, err := r.Factory().New(t.Context(), carrier.Plugin{Name: "memory", Config: empty{}, Module: module.Wasm, Settings: carrier.Settings{Log: slog.New(slog.DiscardHandler), Tracer: p}})
			return opened(t, c, err)
		},
		"process over frames": func(t *testing.T, p trace.TracerProvider) storage.Backend { return spawned(t, p, false) },
		"process over gRPC":   func(t *testing.T, p trace.TracerProvider) storage.Backend { return spawned(t, p, true) },
	} {
		t.Run(name, func(t *testing.T) {
			recorder := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
			b := open(t, provider)
			defer b.Close(context.Background())
			for op := range abi.Ops() {
				call, ok := ask[op]
				if !ok {
					t.Fatalf("nobody asks %s here: add a row to ask", op)
				}
				ctx, parent := provider.Tracer("test").Start(t.Context(), "parent")
				if err := call(ctx, b); err != nil && storage.CodeOf(err) != storage.NotFound {
					t.Errorf("%s: %v", op, err)
				}
				parent.End()
				kind := b.(interface{ kind() string }).kind()
				if want := "plinth." + kind + " " + op.String(); !slices.ContainsFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() == want }) {
					t.Errorf("there is no span %q", want)
				}
			}
		})
	}
}

// carried is a backend that knows the kind of its carrier.
type carried struct {
	carrier.Backend
	carrier carrier.Carrier
}

func (c carried) kind() string { return c.carrier.Kind() }

func opened(t *testing.T, c carrier.Carrier, err error) storage.Backend {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	b, err := c.Open(t.Context(), "s", empty{})
	if err != nil {
		t.Fatal(err)
	}
	return carried{b, c}
}

func spawned(t *testing.T, p trace.TracerProvider, plain bool) storage.Backend {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process, err := procs.New(procs.Options{Name: "memory", Command: []string{self}, Env: carrier.EnvOf(map[string]string{asPlugin: "1"}), Plain: plain, Log: slog.New(slog.DiscardHandler), Tracer: p})
	return opened(t, procs.Carry(process, false), err)
}
