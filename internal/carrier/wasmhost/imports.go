package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/supervise"
)

// What a guest may put into the host's log: records of one call, bytes of one
// record, and bytes of output in one call, as much as so many records.
const (
	maxRecords = 100
	maxRecord  = 16 << 10
	maxOutput  = maxRecords * maxRecord
)

// provideImports makes the host's functions, in the form that wazero calls
// without reflection.
func (m *Module) provideImports(ctx context.Context) error {
	_, err := m.runtime.NewHostModuleBuilder(abi.HostModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(guestLog), logSignature.params, logSignature.results).
		Export(abi.ImportLog).Instantiate(ctx)
	return err
}

// guestLog implements plinth.log(level, pointer, length).
func guestLog(ctx context.Context, guest api.Module, stack []uint64) {
	sink, ok := ctx.(*callContext)
	if !ok {
		return
	}
	level := min(max(slog.Level(int32(stack[0])), slog.LevelDebug), slog.LevelError)
	record, ok := guest.Memory().Read(uint32(stack[1]), min(uint32(stack[2]), maxRecord))
	if !ok {
		record = []byte("a log record outside of the guest's memory")
	}
	sink.record(level, record)
}

// callContext is the context of every call into an instance. It carries the way
// to the log, and no end: a caller that leaves must not close the module.
type callContext struct {
	context.Context
	log  *slog.Logger
	rate *supervise.LogRate // of the plugin
	// Of the call that runs: records, bytes of output, and what a runtime says on
	// standard error before it ends itself.
	records, written int
	lastWords        string
	batch            []*request // the requests of the call; nil for a call without frames
}

// begins forgets what the last call logged.
func (c *callContext) begins() { c.records, c.written, c.lastWords = 0, 0, "" }

// record logs what a guest said: a JSON object with msg and attributes, or text.
func (c *callContext) record(level slog.Level, record []byte) {
	if c.records++; c.records > maxRecords {
		c.rate.Drop()
		if c.records == maxRecords+1 && c.logs(0) {
			c.log.Warn("the plugin logs too much in one call; the rest is dropped", "limit", maxRecords)
		}
		return
	}
	if !c.log.Enabled(context.Background(), level) {
		return
	}
	if !c.logs(len(record)) {
		return
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(record))
	dec.UseNumber()
	if dec.Decode(&fields) != nil {
		c.log.Log(c.caller(""), level, string(bytes.ToValidUTF8(record, []byte("\uFFFD"))))
		return
	}
	msg, _ := fields[slog.MessageKey].(string)
	span, _ := fields[spanKey].(string)
	for _, k := range []string{slog.MessageKey, slog.LevelKey, slog.TimeKey, "plugin", traceKey, spanKey} {
		delete(fields, k)
	}
	attrs := make([]slog.Attr, 0, len(fields))
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(k, fields[k]))
	}
	c.log.LogAttrs(c.caller(span), level, msg, attrs...)
}

// logs reports whether there is room for a record of so many bytes, and logs how many were
// dropped.
func (c *callContext) logs(bytes int) bool {
	ok, dropped := c.rate.Room(time.Now(), bytes)
	if dropped > 0 {
		c.log.Warn("the plugin logs too much: records were dropped", "records", dropped, "limit_per_second", supervise.LogRecords, "limit_bytes_per_second", supervise.LogBytes)
	}
	return ok
}

// What a record may say of the call that it was made in, and what the host's log
// has of it: a guest's word is only taken to choose among the calls that run.
const (
	traceKey = "trace_id"
	spanKey  = "span_id"
)

// caller returns the context of the call that a record was made in: the one whose span
// the record names, else the only one. Nothing is guessed among several.
func (c *callContext) caller(span string) context.Context {
	for _, r := range c.batch {
		sc := r.span.Context()
		if !sc.IsValid() {
			continue
		}
		if len(c.batch) == 1 || span != "" && sc.SpanID().String() == span {
			return trace.ContextWithSpanContext(context.Background(), sc)
		}
	}
	return context.Background()
}

// output writes a guest's standard output or error into the log, line by line.
type output struct {
	ctx   *callContext
	level slog.Level
	line  []byte
}

// Write fails once a call has written too much: a single call of the host can
// hand in all of memory, over and over, and nothing interrupts it.
func (o *output) Write(p []byte) (int, error) {
	if o.ctx.written += len(p); o.ctx.written > maxOutput || o.ctx.records > maxRecords {
		return 0, errFlood
	}
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		o.line = append(o.line, part[:min(len(part), maxRecord-len(o.line))]...)
		if rest = after; ended {
			o.ctx.record(o.level, o.line)
			if o.ctx.lastWords == "" && last.Match(o.line) {
				o.ctx.lastWords = ": " + firstLine(string(o.line))
			}
			o.line = o.line[:0]
		}
	}
	return len(p), nil
}

// last matches the last words of Go and of Rust.
var last = regexp.MustCompile(`^(panic|fatal error): |^thread '.*' panicked at `)

var errFlood = errors.New("too much output in one call")
