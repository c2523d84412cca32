package control

import (
	"net/http"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/examples/authz/web"
	"github.com/plinthkv/plinth/identity"
)

// System identifies the organization of operators. It has keys and nothing else; no
// generator makes its slug.
const System = identity.OrganizationSlug(1)

// KeySpace holds the keys that verify tokens for an API.
type KeySpace struct {
	Keys     auth.Store     // by which they are changed and shown
	Verifier *auth.Verifier // forgets what was changed here
}

// API serves the Control API.
type API struct {
	Tokens        *token.Verifier
	Organizations *repository.Organizations
	Vaults        *repository.Vaults
	Keys          map[string]KeySpace // by audience
	IDs           *identity.Generator
	Audit         *auth.Chain
	Now           func() time.Time
}

// Register adds the handlers to a router.
func (a *API) Register(rt *web.Router) {
	const org = "/control/v1/organizations/{org}"
	for pattern, h := range map[string]handler{
		"POST /control/v1/organizations": operator(a.createOrganization),
		"GET /control/v1/organizations":  operator(a.listOrganizations),
		"GET /control/v1/audit":          operator(a.showAudit),
		"PUT " + org:                     operator(a.updateOrganization),
		"DELETE " + org:                  operator(a.deleteOrganization),
		"GET " + org:                     administrator(a.showOrganization),

		"POST " + org + "/vaults":           administrator(a.createVault),
		"GET " + org + "/vaults":            administrator(a.listVaults),
		"GET " + org + "/vaults/{vault}":    administrator(atVault(a.showVault)),
		"PUT " + org + "/vaults/{vault}":    administrator(atVault(a.renameVault)),
		"DELETE " + org + "/vaults/{vault}": administrator(atVault(a.deleteVault)),

		"POST " + org + "/keys/{api}":              administrator(a.createKey),
		"GET " + org + "/keys/{api}":               administrator(a.listKeys),
		"POST " + org + "/keys/{api}/{kid}/rotate": administrator(a.rotateKey),
		"POST " + org + "/keys/{api}/{kid}/revoke": administrator(a.revokeKey),
	} {
		rt.Handle(pattern, a.authenticated(h))
	}
}

// request is one whose caller and organization are known.
type request struct {
	*http.Request
	w      http.ResponseWriter
	caller token.Caller
	org    identity.OrganizationSlug // that the path names; 0 if it names none
}

type handler func(r *request) (any, error)

// authenticated finds out who calls before anything else is looked at.
func (a *API) authenticated(h handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		caller, err := a.Tokens.Caller(r)
		if err != nil {
			return nil, err
		}
		ctx := auth.WithActor(r.Context(), caller.Org.String()+"/"+caller.Subject+" with "+caller.Kid)
		req := &request{r.WithContext(ctx), w, caller, 0}
		if text := r.PathValue("org"); text != "" {
			if req.org, err = identity.Parse[identity.OrganizationSlug](text); err != nil {
				return nil, web.Errorf(http.StatusBadRequest, "invalid_argument", "the organization is not a slug")
			}
		}
		return h(req)
	}
}

var errForbidden = web.Errorf(http.StatusForbidden, "permission_denied", "the token is for another organization, or not for an operator")

// operator lets operators do something.
func operator(h handler) handler {
	return func(r *request) (any, error) {
		if r.caller.Org != System {
			return nil, errForbidden
		}
		return h(r)
	}
}

// administrator lets operators and the organization's own administrators do something. It
// refuses before it is known whether the organization exists.
func administrator(h handler) handler {
	return func(r *request) (any, error) {
		if r.caller.Org != System && r.caller.Org != r.org {
			return nil, errForbidden
		}
		return h(r)
	}
}

// created names what a request has created.
func (r *request) created(path string, version uint64) {
	r.w.Header().Set("Location", path)
	web.SetETag(r.w, version)
}

type organization struct {
	Slug      string    `json:"slug"` // a number of 64 bits, which JavaScript has not
	Name      string    `json:"name"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
}

func shownOrganization(o repository.Organization) organization {
	return organization{o.Slug.String(), o.Name, o.State, o.CreatedAt}
}

func (a *API) createOrganization(r *request) (any, error) {
	var req struct {
		Name string `json:"name"`
	}
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	o, err := a.Organizations.Create(r.Context(), req.Name)
	if err != nil {
		return nil, err
	}
	r.created("/control/v1/organizations/"+o.Slug.String(), o.Version)
	return shownOrganization(o), nil
}

func (a *API) listOrganizations(r *request) (any, error) {
	after, limit, err := web.Page(r.Request)
	if err != nil {
		return nil, err
	}
	list, next, err := a.Organizations.List(r.Context(), after, limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Organizations []organization `json:"organizations"`
		Next          string         `json:"next,omitempty"`
	}{[]organization{}, next}
	for _, o := range list {
		out.Organizations = append(out.Organizations, shownOrganization(o))
	}
	return out, nil
}

func (a *API) showOrganization(r *request) (any, error) {
	o, err := a.Organizations.Get(r.Context(), r.org)
	if err != nil {
		return nil, err
	}
	web.SetETag(r.w, o.Version)
	return shownOrganization(o), nil
}

func (a *API) updateOrganization(r *request) (any, error) {
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	var req struct {
		Name  string `json:"name"`
		State string `json:"state"`
	}
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	o, err := a.Organizations.Update(r.Context(), r.org, version, req.Name, req.State)
	if err != nil {
		return nil, err
	}
	web.SetETag(r.w, o.Version)
	return shownOrganization(o), nil
}

func (a *API) deleteOrganization(r *request) (any, error) {
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	return nil, a.Organizations.Delete(r.Context(), r.org, version)
}

// showAudit lists what was done to keys, in its order.
func (a *API) showAudit(r *request) (any, error) {
	after, limit, err := web.Page(r.Request)
	if err != nil {
		return nil, err
	}
	var from uint64
	if after != "" {
		if from, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, web.Errorf(http.StatusBadRequest, "invalid_argument", "after is not a sequence number")
		}
	}
	out := struct {
		Entries []auth.Entry `json:"entries"`
		Next    string       `json:"next,omitempty"`
	}{Entries: []auth.Entry{}}
	for e, err := range a.Audit.Entries(r.Context(), from+1) {
		if err != nil {
			return nil, err
		}
		if len(out.Entries) == limit {
			out.Next = strconv.FormatUint(out.Entries[limit-1].Sequence, 10)
			break
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}
