package control

import (
	"net/http"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/examples/authz/web"
	"github.com/plinthkv/plinth/identity"
)

// maxKeys limits the keys of an organization for an API. Concurrent creations may exceed it.
const maxKeys = 100

// maxGrace limits how long a key may stay usable after a rotation.
const maxGrace = 30 * 24 * time.Hour

type key struct {
	Kid        string    `json:"kid"`
	Usable     bool      `json:"usable"`
	CreatedAt  time.Time `json:"created_at"`
	ValidUntil time.Time `json:"valid_until,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	Reason     string    `json:"reason,omitempty"`
}

// space returns the keys of the API that the path names, if the caller's organization works.
// The keys of operators are for this API alone.
func (a *API) space(r *request) (s KeySpace, api string, err error) {
	api = r.PathValue("api")
	s, ok := a.Keys[api]
	if !ok {
		return s, api, web.Errorf(http.StatusNotFound, "not_found", "there are keys for control and for engine")
	}
	if r.org == System {
		return s, api, nil
	}
	o, err := a.Organizations.Get(r.Context(), r.org)
	if err == nil && o.State != repository.Active && r.caller.Org != System {
		err = repository.ErrSuspended
	}
	return s, api, err
}

type keyRequest struct {
	Kid       string `json:"kid"`
	PublicKey string `json:"public_key"` // base64url of 32 bytes, without padding
}

// record returns the key that a request asks for.
func (a *API) record(req keyRequest) (k auth.PublicSigningKey, err error) {
	public, err := auth.ParsePublicKey(req.PublicKey)
	if err != nil {
		return k, err
	}
	client, err := identity.Generate[identity.ClientID](a.IDs)
	if err != nil {
		return k, err
	}
	cert, err := identity.Generate[identity.CertID](a.IDs)
	if err != nil {
		return k, err
	}
	return auth.New(req.Kid, public, client, cert, a.Now())
}

func (a *API) createKey(r *request) (any, error) {
	s, api, err := a.space(r)
	if err != nil {
		return nil, err
	}
	var req keyRequest
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	k, err := a.record(req)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, err := range s.Keys.List(r.Context(), r.org) {
		if err != nil {
			return nil, err
		}
		if n++; n >= maxKeys {
			return nil, repository.ErrQuota
		}
	}
	if err := s.Keys.Create(r.Context(), r.org, k); err != nil {
		return nil, err
	}
	s.Verifier.Forget(r.org, k.Kid) // that there was no such key
	r.w.Header().Set("Location", "/control/v1/organizations/"+r.org.String()+"/keys/"+api)
	return a.shownKey(k), nil
}

func (a *API) shownKey(k auth.PublicSigningKey) key {
	return key{k.Kid, k.Usable(a.Now()), k.CreatedAt, k.ValidUntil, k.RevokedAt, k.RevocationReason}
}

func (a *API) listKeys(r *request) (any, error) {
	s, _, err := a.space(r)
	if err != nil {
		return nil, err
	}
	out := struct {
		Keys []key `json:"keys"`
	}{[]key{}}
	for k, err := range s.Keys.List(r.Context(), r.org) {
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, a.shownKey(k))
	}
	return out, nil
}

// rotateKey replaces a key by the next one, and lets both be used for a while.
func (a *API) rotateKey(r *request) (any, error) {
	s, _, err := a.space(r)
	if err != nil {
		return nil, err
	}
	var req struct {
		Kid       string `json:"kid"`
		PublicKey string `json:"public_key"`
		Grace     int64  `json:"grace_seconds"`
	}
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	if req.Grace < 0 || req.Grace > int64(maxGrace/time.Second) {
		return nil, web.Errorf(http.StatusBadRequest, "invalid_argument", "grace_seconds must be 0 to 2592000, which is 30 days")
	}
	next, err := a.record(keyRequest{req.Kid, req.PublicKey})
	if err != nil {
		return nil, err
	}
	old := r.PathValue("kid")
	if err := s.Keys.Rotate(r.Context(), r.org, old, next, time.Duration(req.Grace)*time.Second); err != nil {
		return nil, err
	}
	s.Verifier.Forget(r.org, old)
	s.Verifier.Forget(r.org, next.Kid)
	return a.shownKey(next), nil
}

// revokeKey ends a key for good. This process refuses its tokens from the response on, other
// processes on the same store within the bound of their verifiers.
func (a *API) revokeKey(r *request) (any, error) {
	s, _, err := a.space(r)
	if err != nil {
		return nil, err
	}
	var req struct {
		Reason string `json:"reason"`
	}
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	kid := r.PathValue("kid")
	if err := s.Keys.Revoke(r.Context(), r.org, kid, req.Reason); err != nil {
		return nil, err
	}
	s.Verifier.Forget(r.org, kid)
	return nil, nil
}
