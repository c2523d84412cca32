package auth

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// PublicSigningKey holds a key for verifying tokens, with its record.
type PublicSigningKey struct {
	Kid       string            // its name in the header of a token
	PublicKey PublicKey         // never shown
	ClientID  identity.ClientID // of the API client that signs with it
	CertID    identity.CertID   // of the client's certificate
	CreatedAt time.Time
	// ValidFrom and ValidUntil are the first and the last moment at which the key may be
	// used. A zero ValidUntil means no end.
	ValidFrom  time.Time
	ValidUntil time.Time
	Active     bool      // may be switched off and on
	RevokedAt  time.Time // zero if it is not revoked. A revocation is final.
	// RevocationReason says why the key was revoked. It is optional.
	RevocationReason string
}

// New returns an active key that is valid from now on, without an end. kid is 1 to 1024
// bytes of text, without slashes and control characters. Anything else, and IDs of zero,
// are an InvalidArgument.
func New(kid string, key PublicKey, client identity.ClientID, cert identity.CertID, now time.Time) (PublicSigningKey, error) {
	now = now.UTC()
	k := PublicSigningKey{Kid: kid, PublicKey: key, ClientID: client, CertID: cert, CreatedAt: now, ValidFrom: now, Active: true}
	return k, k.Validate()
}

// Validate returns an error unless the key is valid for [Keys].
func (k *PublicSigningKey) Validate() error {
	if err := checkKid(k.Kid); err != nil {
		return err
	}
	if _, err := NewPublicKey(k.PublicKey[:]); err != nil {
		return err
	}
	if err := checkReason(k.RevocationReason); err != nil {
		return invalid("key %.40q: %w", k.Kid, err)
	}
	switch {
	case k.ClientID.IsZero():
		return invalid("key %.40q has no client ID", k.Kid)
	case k.CertID.IsZero():
		return invalid("key %.40q has no certificate ID", k.Kid)
	case k.CreatedAt.IsZero():
		return invalid("key %.40q has no time of creation", k.Kid)
	case k.ValidFrom.IsZero():
		return invalid("key %.40q is not valid from any time", k.Kid)
	case !k.ValidUntil.IsZero() && k.ValidUntil.Before(k.ValidFrom):
		return invalid("key %.40q is valid until %s, before it is valid from %s", k.Kid, timeText(k.ValidUntil), timeText(k.ValidFrom))
	case k.RevocationReason != "" && k.RevokedAt.IsZero():
		return invalid("key %.40q has a reason for a revocation, and is not revoked", k.Kid)
	case !k.RevokedAt.IsZero() && k.Active:
		return invalid("key %.40q is revoked and active", k.Kid)
	}
	for _, at := range []time.Time{k.CreatedAt, k.ValidFrom, k.ValidUntil, k.RevokedAt} {
		if !at.IsZero() && (at.UTC().Year() < 0 || at.UTC().Year() > 9999) {
			return invalid("key %.40q has a time in the year %d, which RFC 3339 cannot write", k.Kid, at.UTC().Year())
		}
	}
	return nil
}

// The bounds of texts, in bytes.
const (
	maxKid    = 1024
	maxReason = 4096
)

// checkKid reports whether a kid can name a key: it is a part of a path wherever keys are
// served.
func checkKid(kid string) error {
	switch {
	case kid == "":
		return invalid("the kid is empty")
	case len(kid) > maxKid:
		return invalid("the kid has %d bytes, it may have %d", len(kid), maxKid)
	case !utf8.ValidString(kid):
		return invalid("the kid %.40q is not UTF-8", kid)
	case kid == "." || kid == "..":
		return invalid("the kid %q names a folder", kid)
	}
	if i := strings.IndexFunc(kid, func(r rune) bool { return r == '/' || unicode.IsControl(r) }); i >= 0 {
		return invalid("the kid %.40q has a slash or a control character at byte %d", kid, i)
	}
	return nil
}

// checkReason returns an error unless a text can be the reason of a revocation.
func checkReason(reason string) error {
	if len(reason) > maxReason {
		return invalid("the reason has %d bytes, it may have %d", len(reason), maxReason)
	}
	if !utf8.ValidString(reason) {
		return invalid("the reason %.40q is not UTF-8", reason)
	}
	return nil
}

// Usable reports whether tokens may be verified with the key at a time: it is active, not
// revoked, and the time is within its window, both ends included. The window begins with
// the millisecond of ValidFrom: the clocks of stores have whole milliseconds, so that a
// key that is valid from now on would otherwise begin in their future.
func (k *PublicSigningKey) Usable(at time.Time) bool {
	return k.Active && k.RevokedAt.IsZero() && !at.Before(k.ValidFrom.Truncate(time.Millisecond)) && (k.ValidUntil.IsZero() || !at.After(k.ValidUntil))
}

// timeText returns a time of a record: RFC 3339 in UTC with 0, 3, 6 or 9 digits of a second.
func timeText(at time.Time) string {
	form := "2006-01-02T15:04:05.000000000Z"
	switch ns := at.Nanosecond(); {
	case ns == 0:
		form = "2006-01-02T15:04:05Z"
	case ns%1e6 == 0:
		form = "2006-01-02T15:04:05.000Z"
	case ns%1e3 == 0:
		form = "2006-01-02T15:04:05.000000Z"
	}
	return at.UTC().Format(form)
}

// record returns the key as it is stored. The public key is in it.
func (k *PublicSigningKey) record() []byte {
	b := []byte(`{"kid":`)
	text := func(name, s string) {
		b = append(b, name...)
		b, _ = jsontext.AppendQuote(b, s) // Validate has seen to it that it is text
	}
	moment := func(name string, at time.Time) {
		if at.IsZero() {
			b = append(append(b, name...), "null"...)
			return
		}
		text(name, timeText(at))
	}
	text("", k.Kid)
	text(`,"public_key":`, k.PublicKey.text())
	b = strconv.AppendUint(append(b, `,"client_id":`...), uint64(k.ClientID), 10)
	b = strconv.AppendUint(append(b, `,"cert_id":`...), uint64(k.CertID), 10)
	moment(`,"created_at":`, k.CreatedAt)
	moment(`,"valid_from":`, k.ValidFrom)
	moment(`,"valid_until":`, k.ValidUntil)
	b = strconv.AppendBool(append(b, `,"active":`...), k.Active)
	moment(`,"revoked_at":`, k.RevokedAt)
	if k.RevocationReason == "" {
		return append(b, `,"revocation_reason":null}`...)
	}
	text(`,"revocation_reason":`, k.RevocationReason)
	return append(b, '}')
}

// recordFields are the names of a record.
var recordFields = []string{"kid", "public_key", "client_id", "cert_id", "created_at", "valid_from", "valid_until", "active", "revoked_at", "revocation_reason"}

// parseRecord reads a record. What is not one is a Serialization error, without what
// stands in it.
func parseRecord(raw []byte) (k PublicSigningKey, err error) {
	o, err := strictjson.Parse(raw, 2*len(recordFields))
	if err != nil {
		return k, err
	}
	if err := o.Only(recordFields...); err != nil {
		return k, err
	}
	r := reader{o: o}
	k.Kid = r.text("kid")
	if k.PublicKey, err = ParsePublicKey(r.text("public_key")); err != nil && r.err == nil {
		r.err = err
	}
	k.ClientID, k.CertID = identity.ClientID(r.id("client_id")), identity.CertID(r.id("cert_id"))
	k.CreatedAt, k.ValidFrom, k.ValidUntil, k.RevokedAt = r.time("created_at"), r.time("valid_from"), r.time("valid_until"), r.time("revoked_at")
	active, ok := o.Fields["active"].(bool)
	if k.Active = active; !ok {
		r.fail("active is not true or false")
	}
	if o.Fields["revocation_reason"] != nil {
		k.RevocationReason = r.text("revocation_reason")
	}
	return k, r.err
}

// reader reads fields up to the first invalid one.
type reader struct {
	o   *strictjson.Object
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = invalid(format, args...)
	}
}

func (r *reader) text(name string) string {
	s, err := r.o.Text(name)
	if err != nil && r.err == nil {
		r.err = err
	}
	return s
}

func (r *reader) id(name string) uint64 {
	n, ok := r.o.Fields[name].(json.Number)
	id, err := identity.Parse[uint64](n.String())
	if !ok || err != nil {
		r.fail("%s is not an ID", name)
	}
	return id
}

// time returns a time, or zero: it may be absent or null where that means none.
func (r *reader) time(name string) time.Time {
	if r.o.Fields[name] == nil && name != "created_at" && name != "valid_from" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, r.text(name))
	if err != nil {
		r.fail("%s is not a time of RFC 3339", name)
	}
	return at.UTC()
}

// unreadable returns the error of a record that is not one.
func unreadable(kid string, err error) error {
	e := storage.AsError(err)
	text := err.Error()
	if e != nil && e.Msg != "" {
		text = e.Msg
	}
	return storage.Errorf(storage.Serialization, "the stored key %.40q cannot be read: %s", kid, text)
}

// MarshalJSON returns the record, including the public key.
func (k PublicSigningKey) MarshalJSON() ([]byte, error) {
	if err := k.Validate(); err != nil {
		return nil, err
	}
	return k.record(), nil
}

// UnmarshalJSON reads a record.
func (k *PublicSigningKey) UnmarshalJSON(raw []byte) (err error) {
	*k, err = parseRecord(raw)
	return err
}

// LogValue returns everything except the public key, for logs.
func (k PublicSigningKey) LogValue() slog.Value {
	return slog.GroupValue(slog.String("kid", k.Kid), slog.Uint64("client_id", uint64(k.ClientID)), slog.Uint64("cert_id", uint64(k.CertID)),
		slog.Time("created_at", k.CreatedAt), slog.Time("valid_from", k.ValidFrom), slog.Time("valid_until", k.ValidUntil),
		slog.Bool("active", k.Active), slog.Time("revoked_at", k.RevokedAt), slog.String("revocation_reason", k.RevocationReason))
}
