//go:build unix

package procs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/supervise"
)

const (
	// mostLine is how much of a line is looked at, in bytes; the rest of it is
	// thrown away.
	mostLine = 16 << 10
	// mostHello is how long the first line on standard output may be.
	mostHello = 64 << 10
	// mostWords is how many of the last lines are kept for the reason of an end.
	mostWords = 8
	// mostKept is how much of such a line is kept, in bytes.
	mostKept = 500
)

// output passes what a process prints to the host's log, line by line, and keeps the last
// lines.
type output struct {
	log  *slog.Logger
	rate *supervise.LogRate // of the plugin

	mu    sync.Mutex
	last  []string
	panic string // the first line of a panic, or empty
}

// lines logs lines until the end of r.
func (o *output) lines(r *bufio.Reader, level slog.Level) {
	for {
		line, err := readLine(r, mostLine)
		if line = strings.TrimRight(strings.ToValidUTF8(line, "\uFFFD"), "\r\n"); line != "" {
			o.tell(line, level)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line, of which at most n bytes are kept.
func readLine(r *bufio.Reader, n int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part[:min(len(part), n-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

// tell logs one line: a record, where it is one in JSON as slog or hclog write
// them, else as it is.
func (o *output) tell(line string, level slog.Level) {
	kept := strings.ToValidUTF8(atMost(abi.Printable(line), mostKept), "") // a character may have been cut
	o.mu.Lock()
	if o.panic == "" && panics(line) {
		o.panic = kept
	}
	o.last = append(o.last, kept)
	if len(o.last) > mostWords {
		o.last = o.last[1:]
	}
	o.mu.Unlock()
	ok, dropped := o.rate.Room(time.Now(), len(line))
	if dropped > 0 {
		o.log.Warn("the plugin prints too much: lines were dropped", "lines", dropped, "limit_per_second", supervise.LogRecords, "limit_bytes_per_second", supervise.LogBytes)
	}
	if !ok {
		return
	}
	var record map[string]any
	if !object(line, &record) {
		o.log.Log(context.Background(), level, line)
		return
	}
	text := ""
	for _, name := range []string{"msg", "@message", "message"} {
		if s, ok := record[name].(string); ok && text == "" {
			text = s
			delete(record, name)
		}
	}
	for _, name := range []string{"level", "@level"} {
		if s, ok := record[name].(string); ok {
			level = parseLevel(s, level)
			delete(record, name)
		}
	}
	for _, name := range []string{"time", "@timestamp", "@caller"} {
		delete(record, name)
	}
	ctx := context.Background()
	if s, ok := record["traceparent"].(string); ok {
		ctx = withTrace(ctx, s)
		delete(record, "traceparent")
	}
	var attrs []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(record)) {
		value := record[name]
		if number, ok := value.(json.Number); ok {
			if n, err := number.Int64(); err == nil {
				value = n
			}
		}
		attrs = append(attrs, slog.Any(name, value))
	}
	o.log.LogAttrs(ctx, level, text, attrs...)
}

// object reads a line that is an object in JSON, whose numbers stay as they were written.
func object(line string, into *map[string]any) bool {
	if line[0] != '{' {
		return false
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	return d.Decode(into) == nil && !d.More()
}

// panics reports whether a line is the first of what a program in Go says at its end. What
// follows are stacks and registers.
func panics(line string) bool {
	for _, begin := range []string{"panic: ", "fatal error: ", "runtime/cgo: ", "SIGSEGV: ", "SIGBUS: ", "SIGILL: ", "SIGFPE: ", "SIGABRT: ", "SIGQUIT: ", "unexpected fault address "} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

func parseLevel(s string, level slog.Level) slog.Level {
	switch strings.ToLower(s) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warning":
		return slog.LevelWarn
	}
	_ = level.UnmarshalText([]byte(s)) // an invalid level leaves it unchanged
	return level
}

// withTrace returns ctx as part of the trace that a traceparent names, if it does.
func withTrace(ctx context.Context, traceparent string) context.Context {
	part := strings.Split(traceparent, "-")
	if len(part) != 4 {
		return ctx
	}
	var c trace.SpanContextConfig
	var flags [1]byte
	for i, to := range [][]byte{c.TraceID[:], c.SpanID[:], flags[:]} {
		if n, err := hex.Decode(to, []byte(part[i+1][:min(len(part[i+1]), 2*len(to))])); err != nil || n != len(to) {
			return ctx
		}
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0]), true
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
}

// words returns its last output, or why it panicked, or "".
func (o *output) words() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.panic != "" {
		return o.panic
	}
	return strings.Join(o.last, "\n")
}

// errUnended reports a first line without its end.
var errUnended = fmt.Errorf("the first line on standard output does not end in a newline: %w", io.EOF)

// hello hands the first line on, which is go-plugin's. What follows is output like
// all other. It returns why there was no such line.
func (o *output) hello(r io.Reader, to *io.PipeWriter, secure bool) error {
	b := bufio.NewReaderSize(r, mostHello)
	line, err := firstOf(b, secure)
	switch {
	case err == nil:
		_, _ = to.Write(line) // it fails when the reader has gone
	case len(line) > 0 && (errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed)):
		o.tell(strings.ToValidUTF8(string(line), "\uFFFD"), slog.LevelInfo)
		err = errUnended
	}
	_ = to.Close()
	o.lines(b, slog.LevelInfo)
	return err
}

// sink logs what is written to it, line by line: the output of a plugin that is built on
// go-plugin only arrives over its connection.
type sink struct {
	out  *output
	line []byte
}

func (s *sink) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		s.line = append(s.line, part[:min(len(part), mostLine-len(s.line))]...)
		if whole {
			if line := strings.TrimRight(strings.ToValidUTF8(string(s.line), "\uFFFD"), "\r"); line != "" {
				s.out.tell(line, slog.LevelInfo)
			}
			s.line = s.line[:0]
		}
		rest = after
	}
	return len(b), nil
}

// atMost returns at most n bytes of a text.
func atMost(s string, n int) string { return s[:min(len(s), n)] }
