package guest

import (
	"bytes"
	"context"
	"log/slog"
)

// handler writes records as JSON and hands each to the host, which puts it into
// its own log, under the span of the call that is being answered.
type handler struct {
	slog.Handler
	buf         *bytes.Buffer
	emit        func(level slog.Level, record []byte)
	traceparent func() []byte // of the request that is being answered
}

func newHandler(emit func(slog.Level, []byte), traceparent func() []byte) *handler {
	buf := &bytes.Buffer{}
	json := slog.NewJSONHandler(buf, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{} // the host's clock is the only clock
			}
			return a
		},
	})
	return &handler{json, buf, emit, traceparent}
}

// Handle runs within one call at a time, as everything here does.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.buf.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	record := bytes.TrimSuffix(h.buf.Bytes(), []byte("\n"))
	// Of several calls that are answered together, the host cannot tell whose
	// record it is. The id goes in front: groups, once open, take all that follows.
	if t := h.traceparent(); len(t) == traceparentSize {
		record = append(append(append([]byte(`{"span_id":"`), t[spanAt:spanEnd]...), `",`...), record[1:]...)
	}
	h.emit(r.Level, record)
	return nil
}

// Where the id of the span stands in a traceparent of version 0.
const (
	traceparentSize = 55
	spanAt          = 36
	spanEnd         = 52
)

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.buf, h.emit, h.traceparent}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.buf, h.emit, h.traceparent}
}
