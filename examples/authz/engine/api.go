package engine

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/examples/authz/web"
	"github.com/plinthkv/plinth/identity"
)

// API serves the Engine API. A caller is an organization's service, whose token says which:
// it sees the vaults of that organization and no other.
type API struct {
	Tokens        *token.Verifier
	Relationships *repository.Relationships
	Checker       *Checker
}

// Register adds the handlers to a router.
func (a *API) Register(rt *web.Router) {
	for pattern, h := range map[string]handler{
		"POST /engine/v1/vaults/{vault}/check":                a.check,
		"POST /engine/v1/vaults/{vault}/relationships":        a.change,
		"GET /engine/v1/vaults/{vault}/relationships":         a.list,
		"DELETE /engine/v1/vaults/{vault}/subjects/{subject}": a.removeSubject,
	} {
		rt.Handle(pattern, a.authenticated(h))
	}
}

type handler func(r *http.Request, vault repository.VaultID) (any, error)

// authenticated finds out who calls before anything else is looked at.
func (a *API) authenticated(h handler) web.Handler {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		caller, err := a.Tokens.Caller(r)
		if err != nil {
			return nil, err
		}
		vault, err := identity.Parse[identity.VaultSlug](r.PathValue("vault"))
		if err != nil {
			return nil, web.Errorf(http.StatusBadRequest, "invalid_argument", "the vault is not a slug")
		}
		body, err := h(r, repository.VaultID{Org: caller.Org, Vault: vault})
		return body, status(err)
	}
}

// status gives a status to the errors of checks.
func status(err error) error {
	if e, ok := errors.AsType[*LimitError](err); ok {
		return &web.Error{Status: http.StatusUnprocessableEntity, Code: "check_" + e.Kind, Err: err}
	}
	return err
}

// tuple is a relationship, or a check of one, as JSON holds it.
type tuple struct {
	Object   string `json:"object"`
	Relation string `json:"relation"`
	Subject  string `json:"subject"`
}

type checkResponse struct {
	Allowed bool `json:"allowed"`
	Depth   int  `json:"depth"` // levels of indirection that were looked at
	Reads   int  `json:"reads"`
}

func (a *API) check(r *http.Request, vault repository.VaultID) (any, error) {
	var req tuple
	if err := web.Read(r, &req); err != nil {
		return nil, err
	}
	asked, err := relationship(req)
	if err != nil {
		return nil, err
	}
	answer, err := a.Checker.Check(r.Context(), vault, repository.Userset{Object: asked.Object, Relation: asked.Relation}, asked.Subject)
	if err != nil {
		return nil, err
	}
	return checkResponse(answer), nil
}

func relationship(t tuple) (repository.Relationship, error) {
	return repository.ParseRelationship(t.Object, t.Relation, t.Subject)
}

type changeRequest struct {
	Write  []tuple `json:"write"`
	Delete []tuple `json:"delete"`
	If     struct {
		Present []tuple `json:"present"`
		Absent  []tuple `json:"absent"`
	} `json:"if"`
}

type changeResponse struct {
	Version string `json:"version"` // a number of 64 bits, which JavaScript has not
}

func (a *API) change(r *http.Request, vault repository.VaultID) (any, error) {
	var req changeRequest
	if err := web.Read(r, &req); err != nil {
		return nil, err
	}
	var c repository.Change
	for _, part := range []struct {
		from []tuple
		to   *[]repository.Relationship
	}{{req.Write, &c.Write}, {req.Delete, &c.Delete}, {req.If.Present, &c.Present}, {req.If.Absent, &c.Absent}} {
		for _, one := range part.from {
			parsed, err := relationship(one)
			if err != nil {
				return nil, err
			}
			*part.to = append(*part.to, parsed)
		}
	}
	version, err := a.Relationships.Apply(r.Context(), vault, c)
	if err != nil {
		return nil, err
	}
	return changeResponse{strconv.FormatUint(version, 10)}, nil
}

type listResponse struct {
	Relationships []tuple `json:"relationships"`
	Next          string  `json:"next,omitempty"` // for after, or "" if that was all
}

func (a *API) list(r *http.Request, vault repository.VaultID) (any, error) {
	after, limit, err := web.Page(r)
	if err != nil {
		return nil, err
	}
	f, err := filter(r)
	if err != nil {
		return nil, err
	}
	list, next, err := a.Relationships.List(r.Context(), vault, f, after, limit)
	if err != nil {
		return nil, err
	}
	response := listResponse{Relationships: []tuple{}, Next: next}
	for _, one := range list {
		response.Relationships = append(response.Relationships, tuple{one.Object.String(), one.Relation, one.Subject.String()})
	}
	return response, nil
}

// filter reads ?object=…&relation=… or ?subject=….
func filter(r *http.Request) (f repository.Filter, err error) {
	q := r.URL.Query()
	object, relation, subject := q.Get("object"), q.Get("relation"), q.Get("subject")
	switch {
	case object != "" && subject != "", relation != "" && object == "":
		return f, web.Errorf(http.StatusBadRequest, "invalid_argument", "a list is by object, by object and relation, or by subject")
	case subject != "":
		f.Subject, err = repository.ParseSubject(subject)
		return f, err
	case object == "":
		return f, nil
	}
	if f.Object, err = repository.ParseObject(object); err == nil && relation != "" {
		f.Relation, err = repository.ParseRelation(relation)
	}
	return f, err
}

type removedResponse struct {
	Removed int `json:"removed"`
}

func (a *API) removeSubject(r *http.Request, vault repository.VaultID) (any, error) {
	s, err := repository.ParseSubject(r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	n, err := a.Relationships.RemoveSubject(r.Context(), vault, s)
	if err != nil {
		return nil, err
	}
	return removedResponse{n}, nil
}
