package control

import (
	"net/http"
	"time"

	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/examples/authz/web"
	"github.com/plinthkv/plinth/identity"
)

type vault struct {
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
}

func shownVault(v repository.Vault) vault {
	return vault{v.Slug.String(), v.Name, v.State, v.CreatedAt}
}

// atVault passes the vault that the path names.
func atVault(h func(*request, repository.VaultID) (any, error)) handler {
	return func(r *request) (any, error) {
		slug, err := identity.Parse[identity.VaultSlug](r.PathValue("vault"))
		if err != nil {
			return nil, web.Errorf(http.StatusBadRequest, "invalid_argument", "the vault is not a slug")
		}
		return h(r, repository.VaultID{Org: r.org, Vault: slug})
	}
}

// showing returns the answer of a vault, with its version as the ETag.
func (r *request) showing(v repository.Vault, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	web.SetETag(r.w, v.Version)
	return shownVault(v), nil
}

type vaultRequest struct {
	Name string `json:"name"`
}

func (a *API) createVault(r *request) (any, error) {
	var req vaultRequest
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	v, err := a.Vaults.Create(r.Context(), r.org, req.Name)
	if err != nil {
		return nil, err
	}
	r.created("/control/v1/organizations/"+r.org.String()+"/vaults/"+v.Slug.String(), v.Version)
	return shownVault(v), nil
}

func (a *API) listVaults(r *request) (any, error) {
	after, limit, err := web.Page(r.Request)
	if err != nil {
		return nil, err
	}
	list, next, err := a.Vaults.List(r.Context(), r.org, after, limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Vaults []vault `json:"vaults"`
		Next   string  `json:"next,omitempty"`
	}{[]vault{}, next}
	for _, v := range list {
		out.Vaults = append(out.Vaults, shownVault(v))
	}
	return out, nil
}

func (a *API) showVault(r *request, id repository.VaultID) (any, error) {
	return r.showing(a.Vaults.Get(r.Context(), id))
}

func (a *API) renameVault(r *request, id repository.VaultID) (any, error) {
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	var req vaultRequest
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	return r.showing(a.Vaults.Rename(r.Context(), id, version, req.Name))
}

func (a *API) deleteVault(r *request, id repository.VaultID) (any, error) {
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	return nil, a.Vaults.Delete(r.Context(), id, version)
}
