package server

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// query holds a request's parameters, each known and there once. The standard parser drops
// what it does not understand, which would widen a DELETE.
type query map[string]string

func parseQuery(raw string, known ...string) (query, error) {
	q := query{}
	if raw == "" {
		return q, nil
	}
	if strings.Contains(raw, ";") {
		return nil, badRequest("query: a semicolon; parameters are separated by &, and a semicolon is written %%3B")
	}
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return nil, badRequest("query: the name of a parameter cannot be unescaped")
		}
		value, err := url.QueryUnescape(v)
		switch {
		case err != nil:
			return nil, badRequest("query: the value of %q cannot be unescaped", clip(name))
		case !slices.Contains(known, name):
			return nil, badRequest("query: unknown parameter %q; known are %s", clip(name), strings.Join(known, ", "))
		case q.has(name):
			return nil, badRequest("query: duplicate %q", name)
		}
		q[name] = value
	}
	return q, nil
}

// clip shortens what a caller sent for a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func (q query) has(name string) bool { _, ok := q[name]; return ok }

// bool returns the parameter name, false if it is absent.
func (q query) bool(name string) (bool, error) {
	switch v, ok := q[name]; {
	case !ok, v == "false":
		return false, nil
	case v == "true":
		return true, nil
	}
	return false, badRequest("query: %s must be true or false", name)
}

func (q query) base64(name string) ([]byte, error) {
	b, err := strictjson.Decode64(q[name])
	if err != nil {
		return nil, badRequest("query: %s is not base64 (standard alphabet, padded)", name)
	}
	return b, nil
}

// bytes returns a parameter, or its base64 form decoded, or nil if both are absent.
func (q query) bytes(name string) ([]byte, error) {
	switch text, encoded := q.has(name), q.has(name+"64"); {
	case text && encoded:
		return nil, badRequest("query: %s and %s64 exclude each other", name, name)
	case text:
		return []byte(q[name]), nil
	case encoded:
		return q.base64(name + "64")
	}
	return nil, nil
}

// expiry returns the time of ttl or expires_at; given reports whether one is there.
func (q query) expiry(now time.Time) (at time.Time, given bool, err error) {
	ttl, hasTTL := q["ttl"]
	expires, hasAt := q["expires_at"]
	switch {
	case hasTTL && hasAt:
		return at, false, badRequest("ttl and expires_at exclude each other")
	case hasTTL:
		at, err = parseTTL(ttl, now)
	case hasAt:
		at, err = parseTime(expires)
	}
	return at, hasTTL || hasAt, err
}

var duration = regexp.MustCompile(`^((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$`)

// parseTTL returns the expiry after a Go duration with a unit and no sign. A longer time than
// a duration can hold means no expiry.
func parseTTL(s string, now time.Time) (time.Time, error) {
	if len(s) > 64 || !duration.MatchString(s) {
		return time.Time{}, badRequest("ttl: want a duration with a unit and no sign, such as 30s or 1h30m")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return time.Time{}, nil
	}
	return storage.ExpiryAfter(now, d)
}

// parseTime returns a moment of RFC 3339 as an expiry. One before 1970 is as past as
// any.
func parseTime(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, badRequest("expires_at: want a time of RFC 3339, such as 2030-01-31T12:00:00Z")
	}
	if at.UnixMilli() <= 0 {
		at = time.UnixMilli(1)
	}
	return storage.ClampExpiry(at.UTC()), nil
}

// formatTime returns an expiry as answers show it.
func formatTime(at time.Time) string { return at.UTC().Format(strictjson.TimeForm) }

// bounds returns the range of prefix, start and end together, and whether any of
// them narrows it.
func (q query) bounds() (start, end []byte, bounded bool, err error) {
	prefix, err := q.bytes("prefix")
	if err != nil {
		return nil, nil, false, err
	}
	if start, err = q.bytes("start"); err != nil {
		return nil, nil, false, err
	}
	if end, err = q.bytes("end"); err != nil {
		return nil, nil, false, err
	}
	bounded = len(prefix) > 0 || len(start) > 0 || end != nil
	if string(prefix) > string(start) {
		start = prefix
	}
	if stop := storage.PrefixEnd(prefix); stop != nil && (end == nil || string(stop) < string(end)) {
		end = stop
	}
	return start, end, bounded, nil
}

// limit returns a number of at least 1; 0 where it is absent.
func (q query) limit() (int, error) {
	s, ok := q["limit"]
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, badRequest("query: limit must be a number of at least 1")
	}
	return n, nil
}
