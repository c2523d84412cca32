package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/examples/authz/token"
)

// forged is a token of any header and claims, signed by sign, or unsigned if sign is nil.
func forged(t *testing.T, header, claims map[string]any, sign func([]byte) []byte) string {
	t.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(raw))
	}
	text := strings.Join(parts, ".")
	if sign == nil {
		return text + "."
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

// Whatever is wrong with a token, the answer is the same 401, which does not say what.
func TestTokens(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x, other := w.tenant("acme"), w.tenant("other")
		c := x.engine
		public := c.key.Public().(ed25519.PublicKey)
		eddsa := func(m []byte) []byte { return ed25519.Sign(c.key, m) }
		now := time.Now().Unix()
		header := func(with ...any) map[string]any {
			return merged(map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": "engine"}, with)
		}
		claims := func(with ...any) map[string]any {
			return merged(map[string]any{"org": c.org.String(), "sub": "test", "aud": "engine", "iat": now, "exp": now + 60}, with)
		}
		good := forged(t, header(), claims(), eddsa)

		revoked := w.newClient(c.org, token.Engine, "revoked")
		x.admin.register(x.org, revoked).must(t, http.StatusCreated)
		revoked.do(http.MethodPost, x.vault+"/check", tuple{"doc:a", "viewer", "user:a"}).must(t, http.StatusOK)
		x.admin.do(http.MethodPost, x.org+"/keys/engine/revoked/revoke", map[string]string{"reason": "test"}).must(t, http.StatusNoContent)
		stranger := w.newClient(c.org, token.Engine, "engine") // the right kid, another key

		for _, tc := range []struct {
			name, authorization string
			status              int
		}{
			{"good", "Bearer " + good, http.StatusOK},
			{"lower case", "bearer " + good, http.StatusOK},
			{"none at all", "", http.StatusUnauthorized},
			{"no scheme", good, http.StatusUnauthorized},
			{"basic", "Basic " + good, http.StatusUnauthorized},
			{"empty", "Bearer ", http.StatusUnauthorized},
			{"one part", "Bearer abc", http.StatusUnauthorized},
			{"a cut signature", "Bearer " + good[:len(good)-4], http.StatusUnauthorized},
			{"more behind it", "Bearer " + good + ".x", http.StatusUnauthorized},
			{"alg none", "Bearer " + forged(t, header("alg", "none"), claims(), nil), http.StatusUnauthorized},
			{"alg None", "Bearer " + forged(t, header("alg", "None"), claims(), nil), http.StatusUnauthorized},
			{"no signature", "Bearer " + forged(t, header(), claims(), nil), http.StatusUnauthorized},
			{"HS256 with the public key", "Bearer " + forged(t, header("alg", "HS256"), claims(), func(m []byte) []byte {
				h := hmac.New(sha256.New, public)
				h.Write(m)
				return h.Sum(nil)
			}), http.StatusUnauthorized},
			{"HS256 with its text", "Bearer " + forged(t, header("alg", "HS256"), claims(), func(m []byte) []byte {
				h := hmac.New(sha256.New, []byte(text(c.public())))
				h.Write(m)
				return h.Sum(nil)
			}), http.StatusUnauthorized},
			{"another key", "Bearer " + stranger.token(), http.StatusUnauthorized},
			{"revoked", "Bearer " + revoked.token(), http.StatusUnauthorized},
			{"unknown kid", "Bearer " + forged(t, header("kid", "nobody"), claims(), eddsa), http.StatusUnauthorized},
			{"kid with a separator", "Bearer " + forged(t, header("kid", "../engine"), claims(), eddsa), http.StatusUnauthorized},
			{"kid with NUL", "Bearer " + forged(t, header("kid", "engine\x00"), claims(), eddsa), http.StatusUnauthorized},
			{"kid of another type", "Bearer " + forged(t, header("kid", 7), claims(), eddsa), http.StatusUnauthorized},
			{"no kid", "Bearer " + forged(t, header("kid", nil), claims(), eddsa), http.StatusUnauthorized},
			{"crit", "Bearer " + forged(t, header("crit", []string{"exp"}), claims(), eddsa), http.StatusUnauthorized},
			{"expired", "Bearer " + forged(t, header(), claims("iat", now-120, "exp", now-60), eddsa), http.StatusUnauthorized},
			{"no expiry", "Bearer " + forged(t, header(), claims("exp", nil), eddsa), http.StatusUnauthorized},
			{"no issue", "Bearer " + forged(t, header(), claims("iat", nil), eddsa), http.StatusUnauthorized},
			{"lives too long", "Bearer " + forged(t, header(), claims("exp", now+3601), eddsa), http.StatusUnauthorized},
			{"lives as long as it may", "Bearer " + forged(t, header(), claims("exp", now+3600), eddsa), http.StatusOK},
			{"from the future", "Bearer " + forged(t, header(), claims("iat", now+600, "exp", now+900), eddsa), http.StatusUnauthorized},
			{"not yet", "Bearer " + forged(t, header(), claims("nbf", now+600), eddsa), http.StatusUnauthorized},
			{"for the other API", "Bearer " + forged(t, header(), claims("aud", "control"), eddsa), http.StatusUnauthorized},
			{"for nothing", "Bearer " + forged(t, header(), claims("aud", nil), eddsa), http.StatusUnauthorized},
			{"a key of the other API", "Bearer " + client{w, c.org, token.Engine, "admin", x.admin.key}.token(), http.StatusUnauthorized},
			{"another organization", "Bearer " + forged(t, header(), claims("org", other.engine.org.String()), eddsa), http.StatusUnauthorized},
			{"organization 0", "Bearer " + forged(t, header(), claims("org", "0"), eddsa), http.StatusUnauthorized},
			{"no organization", "Bearer " + forged(t, header(), claims("org", nil), eddsa), http.StatusUnauthorized},
			{"organization with a separator", "Bearer " + forged(t, header(), claims("org", c.org.String()+"/x"), eddsa), http.StatusUnauthorized},
			{"no subject", "Bearer " + forged(t, header(), claims("sub", ""), eddsa), http.StatusUnauthorized},
			{"a long subject", "Bearer " + forged(t, header(), claims("sub", strings.Repeat("x", 129)), eddsa), http.StatusUnauthorized},
			{"a huge token", "Bearer " + forged(t, header(), claims("x", strings.Repeat("x", 4<<10)), eddsa), http.StatusUnauthorized},
			{"another organization's own token", "Bearer " + other.engine.token(), http.StatusNotFound}, // it sees no such vault
		} {
			headers := []string{"Authorization", tc.authorization}
			if tc.authorization == "" {
				headers = nil
			}
			a := w.send(http.MethodPost, x.vault+"/check", tuple{"doc:a", "viewer", "user:a"}, headers...)
			if a.status != tc.status {
				t.Errorf("%s: %d %v, want %d", tc.name, a.status, a.body, tc.status)
			}
			if a.status == http.StatusUnauthorized && (a.text("detail") != "unauthenticated" || a.header.Get("WWW-Authenticate") == "") {
				t.Errorf("%s: %v %v", tc.name, a.body, a.header)
			}
		}
		if a := w.send(http.MethodPost, x.vault+"/check", nil, "Authorization", "Bearer "+good, "Authorization", "Bearer "+good); a.status != http.StatusUnauthorized {
			t.Errorf("two tokens: %d", a.status)
		}
	})
}

// merged is a map with other values; nil removes a name.
func merged(m map[string]any, with []any) map[string]any {
	for i := 0; i < len(with); i += 2 {
		name := with[i].(string)
		if m[name] = with[i+1]; with[i+1] == nil {
			delete(m, name)
		}
	}
	return m
}

// A key is good until it is revoked, rotated out or deleted with its organization, and an
// organization's until that is suspended.
func TestWhoMayDoWhat(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x, other := w.tenant("acme"), w.tenant("other")
		vaults := map[string]string{"name": "more"}
		for _, c := range []struct {
			name, method, path string
			by                 client
			body               any
			status             int
		}{
			{"an administrator creates an organization", http.MethodPost, "/control/v1/organizations", x.admin, vaults, http.StatusForbidden},
			{"lists them", http.MethodGet, "/control/v1/organizations", x.admin, nil, http.StatusForbidden},
			{"reads the audit log", http.MethodGet, "/control/v1/audit", x.admin, nil, http.StatusForbidden},
			{"suspends its own", http.MethodPut, x.org, x.admin, nil, http.StatusForbidden},
			{"deletes its own", http.MethodDelete, x.org, x.admin, nil, http.StatusForbidden},
			{"reads its own", http.MethodGet, x.org, x.admin, nil, http.StatusOK},
			{"reads another", http.MethodGet, other.org, x.admin, nil, http.StatusForbidden},
			{"reads one that does not exist", http.MethodGet, "/control/v1/organizations/7", x.admin, nil, http.StatusForbidden},
			{"creates a vault in another", http.MethodPost, other.org + "/vaults", x.admin, vaults, http.StatusForbidden},
			{"adds a key to another", http.MethodPost, other.org + "/keys/engine", x.admin, vaults, http.StatusForbidden},
			{"revokes a key of another", http.MethodPost, other.org + "/keys/engine/engine/revoke", x.admin, "{}", http.StatusForbidden},
			{"adds a key to the operators", http.MethodPost, "/control/v1/organizations/1/keys/control", x.admin, vaults, http.StatusForbidden},
			{"an engine client creates a vault", http.MethodPost, x.org + "/vaults", x.engine, vaults, http.StatusUnauthorized},
			{"an administrator asks the engine", http.MethodPost, x.vault + "/check", x.admin, nil, http.StatusUnauthorized},
			{"an operator reads any", http.MethodGet, other.org, w.operator, nil, http.StatusOK},
			{"one that does not exist", http.MethodGet, "/control/v1/organizations/7", w.operator, nil, http.StatusNotFound},
			{"creates a vault in any", http.MethodPost, x.org + "/vaults", w.operator, vaults, http.StatusCreated},
			{"creates a vault in none", http.MethodPost, "/control/v1/organizations/7/vaults", w.operator, vaults, http.StatusNotFound},
			{"adds a key to none", http.MethodPost, "/control/v1/organizations/7/keys/engine", w.operator, vaults, http.StatusNotFound},
			{"adds a key for no API", http.MethodPost, x.org + "/keys/all", w.operator, vaults, http.StatusNotFound},
		} {
			if a := c.by.do(c.method, c.path, c.body); a.status != c.status {
				t.Errorf("%s: %d %v, want %d", c.name, a.status, a.body, c.status)
			}
		}
	})
}

// While an organization is suspended nothing of it works, and no other notices.
func TestSuspension(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x, other := w.tenant("acme"), w.tenant("other")
		state := func(state string) {
			etag := w.operator.do(http.MethodGet, x.org, nil).header.Get("ETag")
			w.operator.do(http.MethodPut, x.org, map[string]string{"name": "acme", "state": state}, "If-Match", etag).must(t, http.StatusOK)
		}
		state("suspended")
		x.check("doc:a", "viewer", "user:a").must(t, http.StatusForbidden)
		x.change(change{Write: []tuple{{"doc:a", "viewer", "user:a"}}}).must(t, http.StatusForbidden)
		x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": "more"}).must(t, http.StatusForbidden)
		x.admin.register(x.org, w.newClient(x.admin.org, token.Control, "more")).must(t, http.StatusForbidden)
		other.check("doc:a", "viewer", "user:a").must(t, http.StatusOK)
		state("active")
		x.change(change{Write: []tuple{{"doc:a", "viewer", "user:a"}}}).must(t, http.StatusOK)
	})
}

// A key that is rotated may be used for a while along with the next one, by the service's clock.
func TestRotation(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		var ahead atomic.Int64
		w := start(t, kind, options{now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		x := w.tenant("acme")
		next := w.newClient(x.engine.org, token.Engine, "next")
		body := map[string]any{"kid": "next", "public_key": text(next.public()), "grace_seconds": 5}
		asked := tuple{"doc:a", "viewer", "user:a"}
		x.engine.do(http.MethodPost, x.vault+"/check", asked).must(t, http.StatusOK) // the old key is remembered
		x.admin.do(http.MethodPost, x.org+"/keys/engine/engine/rotate", body).must(t, http.StatusOK)
		x.engine.do(http.MethodPost, x.vault+"/check", asked).must(t, http.StatusOK)
		next.do(http.MethodPost, x.vault+"/check", asked).must(t, http.StatusOK)
		ahead.Store(int64(30 * time.Second)) // within the tokens' minute
		x.engine.do(http.MethodPost, x.vault+"/check", asked).must(t, http.StatusUnauthorized)
		next.do(http.MethodPost, x.vault+"/check", asked).must(t, http.StatusOK)
		x.admin.do(http.MethodPost, x.org+"/keys/engine/nobody/rotate", body).must(t, http.StatusNotFound)
		body["grace_seconds"] = -1
		x.admin.do(http.MethodPost, x.org+"/keys/engine/next/rotate", body).must(t, http.StatusBadRequest)
	})
}
