package abi

import (
	"errors"
	"math"
	"strconv"

	"github.com/plinthkv/plinth/storage"
)

// Error: 1 Code code, 2 string op, 3 string layer, 4 string message,
// 5 uint64 retry_after_ms, 6 bool unknown, 7 uint64 check, 8 Limit limit,
// 9 string config_path. Error.Limit: 1 string kind, 2 int64 max, 3 int64 actual.
const (
	errorCode       = 1<<3 | wireVarint
	errorOp         = 2<<3 | wireBytes
	errorLayer      = 3<<3 | wireBytes
	errorMessage    = 4<<3 | wireBytes
	errorRetryAfter = 5<<3 | wireVarint
	errorUnknown    = 6<<3 | wireVarint
	errorCheck      = 7<<3 | wireVarint
	errorLimit      = 8<<3 | wireBytes
	errorConfigPath = 9<<3 | wireBytes
	errorFields     = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9

	hitKind   = 1<<3 | wireBytes
	hitMax    = 2<<3 | wireVarint
	hitActual = 3<<3 | wireVarint
	hitFields = 1<<1 | 1<<2 | 1<<3
)

// AppendError appends an error. Its cause is not carried; where Msg is empty,
// the cause's text is sent as the message. Texts are cut to [MaxErrorText].
func AppendError(dst []byte, e *storage.Error) []byte {
	msg := e.Msg
	if msg == "" && e.Err != nil {
		msg = e.Err.Error()
	}
	dst = appendUint(dst, errorCode, uint64(e.Code))
	dst = appendText(dst, errorOp, mendCut(e.Op))
	dst = appendText(dst, errorLayer, mendCut(e.Layer))
	dst = appendText(dst, errorMessage, mendCut(msg))
	dst = appendUint(dst, errorRetryAfter, fromDuration(e.RetryAfter))
	dst = appendBool(dst, errorUnknown, e.Unknown || e.Code == storage.OutcomeUnknown)
	dst = appendUint(dst, errorCheck, fromInt(e.Check))
	if l := &e.Limit; *l != (storage.Limit{}) {
		kind := mendCut(l.Kind)
		dst = appendLen(dst, errorLimit, sizePlain(len(kind))+sizeUint(uint64(l.Max))+sizeUint(uint64(l.Actual)))
		dst = appendText(dst, hitKind, kind)
		dst = appendUint(dst, hitMax, uint64(l.Max))
		dst = appendUint(dst, hitActual, uint64(l.Actual))
	}
	return appendText(dst, errorConfigPath, mendCut(e.ConfigPath))
}

// DecodeError reads an error. It never fails: what cannot be read is an Internal
// error that says so, and so is a code that this version does not know. Texts
// are mended and cut to [MaxErrorText] bytes.
func DecodeError(b []byte) *storage.Error {
	e := &storage.Error{}
	code, err := decodeErrorFields(b, e)
	if err != nil {
		return unreadable(err)
	}
	return fromCode(code, e)
}

// fromCode gives e the code that came over the wire.
func fromCode(code uint32, e *storage.Error) *storage.Error {
	switch {
	case code == uint32(storage.OK):
		prefix(e, "an error without a code")
	case code > math.MaxUint8 || !storage.Code(code).Known():
		prefix(e, "the unknown error code "+strconv.FormatUint(uint64(code), 10))
	default:
		e.Code = storage.Code(code)
	}
	if e.Code == storage.OutcomeUnknown {
		e.Unknown = true
	}
	return e
}

// prefix makes e an Internal error that says what, and then what it said.
func prefix(e *storage.Error, what string) {
	e.Code = storage.Internal
	if e.Msg != "" {
		what += ": " + e.Msg
	}
	e.Msg = cutText(what)
}

// unreadable returns the error for an error that could not be decoded.
func unreadable(err error) *storage.Error {
	return storage.Errorf(storage.Internal, "the answer's error could not be read: %v", err)
}

func decodeErrorFields(b []byte, e *storage.Error) (code uint32, err error) {
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return 0, malformed("error", at, next)
			}
		}
		var v uint64
		switch tag {
		case errorCode:
			v, i = uvarint(b, next)
			code = uint32(v)
		case errorOp:
			e.Op, i = mended(b, next)
		case errorLayer:
			e.Layer, i = mended(b, next)
		case errorMessage:
			e.Msg, i = mended(b, next)
		case errorRetryAfter:
			v, i = uvarint(b, next)
			e.RetryAfter = toDuration(v)
		case errorUnknown:
			v, i = uvarint(b, next)
			e.Unknown = v != 0
		case errorCheck:
			v, i = uvarint(b, next)
			e.Check = toInt(v)
		case errorLimit:
			var p []byte
			if p, i = field(b, next); i >= 0 {
				if err := decodeHit(p, &e.Limit); err != nil {
					return 0, inside("error", at, err)
				}
			}
		case errorConfigPath:
			e.ConfigPath, i = mended(b, next)
		default:
			i = skip(b, next, tag, errorFields)
		}
		if i < 0 {
			return 0, malformed("error", at, i)
		}
	}
	return code, nil
}

// decodeHit reads a limit over the one that is there, as merging asks.
func decodeHit(b []byte, l *storage.Limit) error {
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("limit", at, next)
			}
		}
		var v uint64
		switch tag {
		case hitKind:
			l.Kind, i = mended(b, next)
		case hitMax:
			v, i = uvarint(b, next)
			l.Max = int64(v)
		case hitActual:
			v, i = uvarint(b, next)
			l.Actual = int64(v)
		default:
			i = skip(b, next, tag, hitFields)
		}
		if i < 0 {
			return malformed("limit", at, i)
		}
	}
	return nil
}

// mended reads a text that need not be valid: an error that says little is
// better than one that is refused.
func mended(b []byte, i int) (string, int) {
	v, i := field(b, i)
	return mendCut(string(v[:min(len(v), MaxErrorText+1)])), i
}

// inside returns the error of a message in the field at an offset of another.
func inside(message string, at int, err error) error {
	var e *storage.Error
	if !errors.As(err, &e) {
		return err
	}
	return storage.Errorf(e.Code, "%s: the field at %d: %s", message, at, e.Msg)
}
