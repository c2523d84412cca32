package auth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/storage"
)

// The record is the original's to the byte: names in this order, optionals as null, times
// with 0, 3, 6 or 9 digits, numbers bare, nothing escaped that need not be.
func TestRecord(t *testing.T) {
	const pub = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8032, test 1
	for record, change := range map[string]func(*auth.PublicSigningKey){
		`{"kid":"key-1","public_key":"` + pub + `","client_id":18446744073709551615,"cert_id":2,"created_at":"2026-01-02T03:04:05Z","valid_from":"2026-01-02T03:04:05Z","valid_until":null,"active":true,"revoked_at":null,"revocation_reason":null}`: func(k *auth.PublicSigningKey) {},
		`{"kid":"ключ <&>\u0022\u2028","public_key":"` + pub + `","client_id":1,"cert_id":2,"created_at":"2026-01-02T03:04:05.120Z","valid_from":"2026-01-02T03:04:05.000120Z","valid_until":"2027-01-02T03:04:05.000000012Z","active":false,"revoked_at":"2026-06-01T00:00:00Z","revocation_reason":"a \"b\"\n\u001f"}`: func(k *auth.PublicSigningKey) {
			k.Kid, k.ClientID = "ключ <&>\"\u2028", 1
			k.CreatedAt, k.ValidFrom, k.ValidUntil = start.Add(120*time.Millisecond), start.Add(120*time.Microsecond), start.AddDate(1, 0, 0).Add(12)
			k.Active, k.RevokedAt, k.RevocationReason = false, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), "a \"b\"\n\u001f"
		},
	} {
		record = strings.NewReplacer(`\u0022`, `\"`, `\u2028`, "\u2028").Replace(record)
		key, err := auth.ParsePublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		k := auth.PublicSigningKey{Kid: "key-1", PublicKey: key, ClientID: 1<<64 - 1, CertID: 2, CreatedAt: start, ValidFrom: start, Active: true}
		change(&k)
		raw, err := k.MarshalJSON()
		if err != nil || string(raw) != record {
			t.Errorf("written %s, %v\nwant    %s", raw, err, record)
		}
		var read auth.PublicSigningKey
		if err := json.Unmarshal([]byte(record), &read); err != nil || read != k {
			t.Errorf("read %+v, %v", read, err)
		}
	}
}

// Records of the original that leave optionals out or have another offset are read.
func TestRecordsOfOthers(t *testing.T) {
	var k auth.PublicSigningKey
	err := json.Unmarshal([]byte(`{"active":true, "kid":"k","public_key":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","client_id":0,"cert_id":0,"created_at":"2026-01-02T05:04:05+02:00","valid_from":"2026-01-02T03:04:05Z"}`), &k)
	if err != nil || !k.CreatedAt.Equal(start) || !k.ValidUntil.IsZero() || !k.Usable(start) {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestBadRecords(t *testing.T) {
	k := newKey(t, "k")
	good, _ := k.MarshalJSON()
	for name, edit := range map[string][2]string{
		"an unknown field":    {`{"kid"`, `{"format":2,"kid"`},
		"a name twice":        {`{"kid"`, `{"kid":"k","kid"`},
		"no kid":              {`"kid":"k",`, ``},
		"a kid of no text":    {`"kid":"k"`, `"kid":1`},
		"no key":              {`"public_key":"`, `"public_kex":"`},
		"an ID as a fraction": {`"client_id":11`, `"client_id":1.5`},
		"an ID below zero":    {`"client_id":11`, `"client_id":-1`},
		"a time of no kind":   {`"created_at":"2026`, `"created_at":"yesterday`},
		"no time":             {`"valid_from":"2026-01-02T03:04:05Z"`, `"valid_from":null`},
		"neither true nor no": {`"active":true`, `"active":1`},
		"half of it":          {`,"active":true,"revoked_at":null,"revocation_reason":null}`, ``},
	} {
		bad := bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		var read auth.PublicSigningKey
		if err := json.Unmarshal(bad, &read); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// No verb shows a public key, of a key or alone, except those for which fmt calls no method.
func TestNoVerbShowsAPublicKey(t *testing.T) {
	k := newKey(t, "k")
	for verb := 'A'; verb <= 'z'; verb++ {
		if verb == 'p' || verb == 'w' {
			continue
		}
		for _, holder := range []any{k.PublicKey, &k.PublicKey, k, &k, []auth.PublicSigningKey{k}} {
			text := fmt.Sprintf("%"+string(verb), holder)
			for _, form := range []string{"%d", "%x", "%X", "%s", "%c", "%o", "%b", "%U"} {
				if shown := strings.Trim(fmt.Sprintf(form, k.PublicKey[:8]), "[]"); strings.Contains(text, shown) {
					t.Errorf("%%%c of a %T shows %s", verb, holder, shown)
				}
			}
		}
	}
}

func TestPublicKeys(t *testing.T) {
	good := publicKey(1).Ed25519()
	text := base64.RawURLEncoding.EncodeToString(good)
	for name, bad := range map[string]string{
		"31 bytes":           base64.RawURLEncoding.EncodeToString(good[:31]),
		"33 bytes":           base64.RawURLEncoding.EncodeToString(append(good[:32:32], 0)),
		"zeros":              strings.Repeat("A", 43),
		"padded":             text + "=",
		"the other alphabet": strings.Repeat("+", 43),
		"bits left over":     text[:42] + "B",
		"a line end":         text[:42] + "\n",
		"nothing":            "",
	} {
		if _, err := auth.ParsePublicKey(bad); !isInvalid(err) || strings.Contains(err.Error(), text[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The points of small order, in all their encodings (RFC 8032 curve, cofactor 8).
	for _, small := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080", "0000000000000000000000000000000000000000000000000000000000000000",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"0100000000000000000000000000000000000000000000000000000000000080", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		raw, _ := hex.DecodeString(small)
		if _, err := auth.NewPublicKey(raw); !isInvalid(err) {
			t.Errorf("%s: %v", small, err)
		}
	}
	if k, err := auth.ParsePublicKey(text); err != nil || !k.Ed25519().Equal(good) {
		t.Errorf("%v", err)
	}
}

func isInvalid(err error) bool { return storage.CodeOf(err) == storage.InvalidArgument }

func TestBadKeys(t *testing.T) {
	for name, change := range map[string]func(*auth.PublicSigningKey){
		"no kid":                    func(k *auth.PublicSigningKey) { k.Kid = "" },
		"1,025 bytes of kid":        func(k *auth.PublicSigningKey) { k.Kid = strings.Repeat("k", 1025) },
		"a slash":                   func(k *auth.PublicSigningKey) { k.Kid = "a/b" },
		"a folder":                  func(k *auth.PublicSigningKey) { k.Kid = ".." },
		"a NUL":                     func(k *auth.PublicSigningKey) { k.Kid = "a\x00" },
		"a line end":                func(k *auth.PublicSigningKey) { k.Kid = "a\n" },
		"no UTF-8":                  func(k *auth.PublicSigningKey) { k.Kid = "\xff" },
		"no key":                    func(k *auth.PublicSigningKey) { k.PublicKey = auth.PublicKey{} },
		"no client":                 func(k *auth.PublicSigningKey) { k.ClientID = 0 },
		"no certificate":            func(k *auth.PublicSigningKey) { k.CertID = 0 },
		"no creation":               func(k *auth.PublicSigningKey) { k.CreatedAt = time.Time{} },
		"no beginning":              func(k *auth.PublicSigningKey) { k.ValidFrom = time.Time{} },
		"an end before the start":   func(k *auth.PublicSigningKey) { k.ValidUntil = k.ValidFrom.Add(-1) },
		"a reason, and not revoked": func(k *auth.PublicSigningKey) { k.RevocationReason = "x" },
		"revoked and active":        func(k *auth.PublicSigningKey) { k.RevokedAt = start },
		"a reason without an end": func(k *auth.PublicSigningKey) {
			k.Active, k.RevokedAt, k.RevocationReason = false, start, strings.Repeat("x", 5000)
		},
		"a year of five digits":     func(k *auth.PublicSigningKey) { k.ValidUntil = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a reason that is no text":  func(k *auth.PublicSigningKey) { k.Active, k.RevokedAt, k.RevocationReason = false, start, "\xff" },
		"a beginning before Christ": func(k *auth.PublicSigningKey) { k.ValidFrom = time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		k := newKey(t, "k")
		change(&k)
		if err := k.Validate(); !isInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := json.Marshal(k); err == nil {
			t.Errorf("%s is written", name)
		}
	}
	long := newKey(t, "k")
	if long.Kid = strings.Repeat("k", 1024); long.Validate() != nil {
		t.Error("a kid of 1024 bytes is refused")
	}
}

// A key is usable within its window, both ends included, while it is active and not revoked.
func TestUsable(t *testing.T) {
	k := newKey(t, "k")
	k.ValidUntil = start.Add(time.Hour)
	for at, usable := range map[time.Duration]bool{-1: false, 0: true, time.Hour: true, time.Hour + 1: false} {
		if k.Usable(start.Add(at)) != usable {
			t.Errorf("after %s: %v", at, !usable)
		}
	}
	off, revoked := k, k
	off.Active = false
	revoked.RevokedAt = start
	if off.Usable(start) || revoked.Usable(start) {
		t.Error("what is off or revoked is usable")
	}
}

// Nothing that formats a key shows it.
func TestNothingShowsTheKey(t *testing.T) {
	k := newKey(t, "visible-kid")
	record, _ := k.MarshalJSON()
	_, rest, _ := strings.Cut(string(record), `"public_key":"`)
	secret := rest[:43]
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "key", k)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "key", k, "public", k.PublicKey)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v", k, k, k), fmt.Sprintf("%v %#v %s %x", k.PublicKey, k.PublicKey, k.PublicKey, k.PublicKey), logged.String()} {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprint(k.PublicKey[0])+" "+fmt.Sprint(k.PublicKey[1])) || strings.Contains(text, fmt.Sprintf("%#x", k.PublicKey[0])+", ") {
			t.Errorf("it is shown: %s", text)
		}
		if !strings.Contains(text, "REDACTED") && !strings.Contains(text, "visible-kid") {
			t.Errorf("neither the kid nor a word about the key: %s", text)
		}
	}
}

func FuzzRecord(f *testing.F) {
	k, _ := auth.New("k", publicKey(1), 1, 2, start)
	raw, _ := k.MarshalJSON()
	f.Add(raw)
	f.Add([]byte(`{"kid":"k"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var k, again auth.PublicSigningKey
		if json.Unmarshal(raw, &k) != nil || k.Validate() != nil {
			return
		}
		written, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || again != k {
			t.Errorf("%s comes back as %+v, %v", written, again, err)
		}
	})
}
