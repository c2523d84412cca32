// Package failures logs requests that fail or are refused, at a bounded rate: a client
// decides how many there are, and a log that is full of them hides everything else.
//
// It knows levels and rates. The server knows the protocol of a request, and its answer.
package failures

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// every is the least time between two records of a kind.
const every = time.Second

// Log logs failures of a server. Of each kind it makes a record at the kind's level, and then
// none for a second: those that follow are records of debug, and their number is in the
// next record, as "more". It is safe for concurrent use. Its kinds are few: names of codes.
type Log struct {
	To *slog.Logger

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	logged time.Time
	more   int64 // since then
}

// Level returns how grave a code is: faults of the server or a backend are errors, and refusals
// that pass are warnings. Callers see the others themselves, which are not worth a record.
func Level(code storage.Code) (level slog.Level, worth bool) {
	switch code {
	case storage.Internal, storage.Serialization, storage.OutcomeUnknown, storage.NoSpace, storage.TxnDone:
		return slog.LevelError, true
	case storage.Unavailable, storage.Timeout:
		return slog.LevelWarn, true
	}
	return slog.LevelDebug, false
}

// Failed logs that a request failed with err, unless that is not worth a record.
func (l *Log) Failed(ctx context.Context, err error, msg string, attrs ...slog.Attr) {
	e := storage.AsError(err)
	code := e.Code
	if e.Unknown {
		code = storage.OutcomeUnknown
	}
	if level, worth := Level(code); worth {
		l.Record(ctx, level, code.Name(), msg, append(attrs, slog.String("code", code.Name()), slog.Any("error", err))...)
	}
}

// Record logs a failure of any kind.
func (l *Log) Record(ctx context.Context, level slog.Level, of, msg string, attrs ...slog.Attr) {
	more, now := l.turn(of)
	if !now {
		level = slog.LevelDebug
	}
	if more > 0 {
		attrs = append(attrs, slog.Int64("more", more))
	}
	l.To.LogAttrs(ctx, level, msg, attrs...)
}

// turn reports whether it is time for a record, and how many there were without one.
func (l *Log) turn(of string) (more int64, now bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds = map[string]*kind{}
	}
	k := l.kinds[of]
	if k == nil {
		k = &kind{}
		l.kinds[of] = k
	}
	if at := time.Now(); k.logged.IsZero() || at.Sub(k.logged) >= every {
		more, k.more, k.logged = k.more, 0, at
		return more, true
	}
	k.more++
	return 0, false
}

// Writer returns where net/http complains of connections: each text is a warning of a kind of its
// own.
func (l *Log) Writer() Writer { return Writer{l} }

// Writer writes records of a [Log].
type Writer struct{ l *Log }

// Write logs a text.
func (w Writer) Write(b []byte) (int, error) {
	w.l.Record(context.Background(), slog.LevelWarn, "connection", string(trimmed(b)))
	return len(b), nil
}

func trimmed(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}
