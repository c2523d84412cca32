package answer

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// MaxInfoText limits the name and the version of a backend, in bytes each: they are labels
// of metrics and fields of logs.
const MaxInfoText = 128

// Info reports whether what a backend says of itself can be used: its texts are short and
// printable, its capabilities and limits can be true.
func Info(i *storage.Info) error {
	for _, text := range []struct{ what, is string }{{"name", i.Name}, {"version", i.Version}} {
		switch {
		case len(text.is) > MaxInfoText:
			return fmt.Errorf("the backend's %s has %d bytes, the limit is %d", text.what, len(text.is), MaxInfoText)
		case !utf8.ValidString(text.is) || text.is != abi.Printable(text.is):
			return fmt.Errorf("the backend's %s is not printable text", text.what)
		}
	}
	return nil
}

// longestRetryAfter limits the time to wait that is believed.
const longestRetryAfter = time.Hour

// Refused returns the error err of a call that sent w, or nil if it sent none, as far as it
// can be true: see Failure.
func Refused(err error, w *storage.WriteSet) error {
	e, ok := err.(*storage.Error)
	if !ok {
		return err
	}
	if w == nil {
		return Failure(e, false, 0)
	}
	return Failure(e, true, len(w.Checks))
}

// Clean returns an error from outside with texts that can be logged and shown, and with a
// reasonable time to retry after.
func Clean(e *storage.Error) *storage.Error {
	texts := func(e *storage.Error) [5]*string {
		return [...]*string{&e.Op, &e.Layer, &e.Msg, &e.Limit.Kind, &e.ConfigPath}
	}
	clean := e.RetryAfter >= 0 && e.RetryAfter <= longestRetryAfter
	for _, text := range texts(e) {
		clean = clean && abi.Printable(*text) == *text
	}
	if clean { // nearly always
		return e
	}
	own := *e
	own.RetryAfter = min(max(own.RetryAfter, 0), longestRetryAfter)
	for _, text := range texts(&own) {
		*text = abi.Printable(*text)
	}
	return &own
}

// Health makes the texts of a health, which may be any, such as can be shown.
func Health(h *storage.Health) {
	h.Reason = abi.Printable(h.Reason)
	for key, value := range h.Details {
		own := abi.Printable(key)
		if own != key {
			delete(h.Details, key)
		}
		h.Details[own] = abi.Printable(value)
	}
}

// Failure returns an error from outside, if it is a possible error of a call with so many
// checks. Otherwise it returns an Internal error, or OutcomeUnknown for an apply.
func Failure(e *storage.Error, apply bool, checks int) *storage.Error {
	if e == nil {
		return nil
	}
	e = Clean(e)
	if e.Check < 0 || e.Check > checks {
		return &storage.Error{Code: storage.Internal, Op: e.Op, Layer: e.Layer, Unknown: apply,
			Msg: fmt.Sprintf("the answer names check %d as failed, but %d were sent", e.Check-1, checks)}
	}
	return e
}
