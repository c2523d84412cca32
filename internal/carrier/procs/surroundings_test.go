package procs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

func say(t *testing.T, ctx context.Context, b storage.Backend, key string) string {
	t.Helper()
	it, err := b.Get(ctx, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(it.Value)
}

// A plugin sees of its surroundings what it was granted.
func TestGrants(t *testing.T) {
	t.Setenv("SECRET", "of the host")
	o := options(t, "panics")
	o.Env["GRANTED"] = secret.Copy("yes")
	b := open(t, o)
	names := []string{}
	for line := range strings.Lines(say(t, t.Context(), b, "env")) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"GORACE", "GRANTED", "PLINTH_LOG_LEVEL", "PLINTH_PLUGIN", "PLINTH_RUN_DIR", asPlugin, "PLUGIN_MAX_PORT", "PLUGIN_MIN_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("it sees %q, want %q", names, want)
	}
	own := say(t, t.Context(), b, "dir")
	if entries, err := os.ReadDir(own); err != nil || len(entries) > 0 {
		t.Errorf("its folder %s: %v, %v", own, entries, err)
	}
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if kind := say(t, t.Context(), b, "stdin"); kind != "p---------" {
		t.Errorf("its standard input is %s, not a pipe", kind)
	}
	o.Dir = t.TempDir()
	granted := open(t, o)
	if dir := say(t, t.Context(), granted, "dir"); dir != o.Dir {
		t.Errorf("it runs in %s, want %s", dir, o.Dir)
	}
	if err := granted.Close(t.Context()); err != nil {
		t.Error(err)
	}
	// What is said of telemetry is in a file for the user alone, which goes with the
	// process.
	o.Telemetry = []byte(`file_format: "1.0"`)
	told := open(t, o)
	_, rest, _ := strings.Cut(say(t, t.Context(), told, "env"), "OTEL_CONFIG_FILE=")
	file, _, _ := strings.Cut(rest, "\n")
	if raw, err := os.ReadFile(file); err != nil || string(raw) != string(o.Telemetry) {
		t.Errorf("%q in %s, %v", raw, file, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := told.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
}

// What a plugin logs below the host's level is not printed: it would crowd out the rest.
func TestLevelOfLogs(t *testing.T) {
	for named, level := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		var log lines
		o := options(t, "talks")
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
		b := open(t, o)
		if env := say(t, t.Context(), b, "env"); !strings.Contains(env, "PLINTH_LOG_LEVEL="+named+"\n") {
			t.Errorf("the plugin of a host that logs %s is told %q", named, env)
		}
		say(t, t.Context(), b, "talk") // 3000 lines of debug, one of info, one of an error
		if level == slog.LevelDebug {
			continue
		}
		eventually(t, "the last is there", func() bool { return strings.Contains(log.String(), "level=ERROR msg=last") })
		if text := log.String(); strings.Contains(text, "dropped") || strings.Contains(text, "msg=next") != (level == slog.LevelInfo) {
			t.Errorf("at %s: %.500s", named, text)
		}
	}
}

// AutoMTLS, which is what a configuration has by default.
func TestTLS(t *testing.T) {
	for _, plain := range []bool{false, true} {
		o := options(t, "memory")
		o.Plaintext, o.Plain = false, plain
		if err := set(open(t, o), "k", "v"); err != nil {
			t.Error(err)
		}
	}
}

// The certificate that a process gets has a key that gRPC's C core accepts in every
// version, which go-plugin's own P-521 is not.
func TestCertificateOfTheHost(t *testing.T) {
	o := options(t, "panics")
	o.Plaintext = false
	env := say(t, t.Context(), open(t, o), "env")
	_, from, _ := strings.Cut(env, "PLUGIN_CLIENT_CERT=")
	block, _ := pem.Decode([]byte(from))
	if block == nil {
		t.Fatalf("no certificate in %q", env)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("its key is %T of %v, want P-256", certificate.PublicKey, certificate.SignatureAlgorithm)
	}
	if err := certificate.VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
}

// The trace context crosses over every transport, so that what the plugin does is found
// under the call; and the metrics report calls and the state.
func TestTelemetry(t *testing.T) {
	for _, plain := range []bool{false, true} {
		spans := tracetest.NewInMemoryExporter()
		tracing := trace.NewTracerProvider(trace.WithSyncer(spans))
		reader := metric.NewManualReader()
		var log lines
		o := options(t, "panics")
		o.Plain, o.Tracer, o.Meter = plain, tracing, metric.NewMeterProvider(metric.WithReader(reader))
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		b := open(t, o)
		ctx, parent := tracing.Tracer("test").Start(t.Context(), "parent")
		got := say(t, ctx, b, "trace")
		_, _ = b.Get(ctx, []byte("none"))
		own := say(t, ctx, b, "span")
		parent.End()
		all := spans.GetSpans()
		if len(all) != 4 || all[0].Name != "plinth.process get" || all[0].Parent.SpanID() != parent.SpanContext().SpanID() || len(all[1].Attributes) != 1 {
			t.Fatalf("%+v", all)
		}
		if want := "00-" + all[0].SpanContext.TraceID().String() + "-" + all[0].SpanContext.SpanID().String() + "-01 "; got != want {
			t.Errorf("the plugin was told %q, want %q", got, want)
		}
		if want := all[2].SpanContext.TraceID().String() + " " + all[2].SpanContext.SpanID().String(); own != want {
			t.Errorf("a span of the plugin's own is under %q, want under %q", own, want)
		}
		if got := say(t, t.Context(), b, "trace"); got != " " {
			t.Errorf("without a trace it is told %q", got)
		}
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int64{}
		for _, scope := range data.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					seen[m.Name] = d.DataPoints[0].Value
				case metricdata.Gauge[int64]:
					for _, p := range d.DataPoints {
						state, _ := p.Attributes.Value("plinth.plugin.state")
						seen[m.Name+" "+state.AsString()] = p.Value
					}
				}
			}
		}
		if seen["plinth.instance.calls"] != 4 || seen["plinth.plugin.state ready"] != 1 || seen["plinth.plugin.state failed"] != 0 {
			t.Errorf("%v", seen)
		}
	}
}

// A plugin that prints without end is not logged without end, and is reported.
func TestFloods(t *testing.T) {
	var log lines
	o := options(t, "panics")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	b := open(t, o)
	eventually(t, "lines were dropped", func() bool { // those of a second in which 3000 are printed
		if _, err := b.Get(t.Context(), []byte("flood")); !errors.Is(err, storage.ErrNotFound) {
			t.Fatal(err)
		}
		return strings.Contains(log.String(), "the plugin prints too much: lines were dropped")
	})
}

// A deadline and a caller who leaves reach the plugin, and the connection stays.
func TestCallersLeave(t *testing.T) {
	for _, plain := range []bool{false, true} {
		o := options(t, "panics")
		o.Plain = plain
		b := open(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := b.Get(ctx, []byte("wait")); !errors.Is(err, storage.ErrTimeout) {
			t.Error(err)
		}
		left, leave := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Millisecond, leave)
		_, err := b.Apply(left, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("wait"), nil)}})
		if !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("a write that was left: %v", err)
		}
		// Both have ended there: closing does not wait.
		start := time.Now()
		if err := b.Close(context.Background()); err != nil || time.Since(start) > 5*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	}
}
