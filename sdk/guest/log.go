package guest

import (
	"bytes"
	"context"
	"log/slog"
)

// handler writes records as JSON and hands each to the host, which puts it into
// its own log.
type handler struct {
	slog.Handler
	buf  *bytes.Buffer
	emit func(level slog.Level, record []byte)
}

func newHandler(emit func(slog.Level, []byte)) *handler {
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
	return &handler{json, buf, emit}
}

// Handle runs within one call at a time, as everything here does.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.buf.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	h.emit(r.Level, bytes.TrimSuffix(h.buf.Bytes(), []byte("\n")))
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.buf, h.emit}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.buf, h.emit}
}
