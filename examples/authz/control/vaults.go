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

func (r *request) vault() (repository.VaultID, error) {
	slug, err := identity.Parse[identity.VaultSlug](r.PathValue("vault"))
	if err != nil {
		err = web.Errorf(http.StatusBadRequest, "invalid_argument", "the vault is not a slug")
	}
	return repository.VaultID{Org: r.org, Vault: slug}, err
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

func (a *API) showVault(r *request) (any, error) {
	id, err := r.vault()
	if err != nil {
		return nil, err
	}
	v, err := a.Vaults.Get(r.Context(), id)
	if err != nil {
		return nil, err
	}
	web.SetETag(r.w, v.Version)
	return shownVault(v), nil
}

func (a *API) renameVault(r *request) (any, error) {
	id, err := r.vault()
	if err != nil {
		return nil, err
	}
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	var req vaultRequest
	if err := web.Read(r.Request, &req); err != nil {
		return nil, err
	}
	v, err := a.Vaults.Rename(r.Context(), id, version, req.Name)
	if err != nil {
		return nil, err
	}
	web.SetETag(r.w, v.Version)
	return shownVault(v), nil
}

func (a *API) deleteVault(r *request) (any, error) {
	id, err := r.vault()
	if err != nil {
		return nil, err
	}
	version, err := web.IfMatch(r.Request)
	if err != nil {
		return nil, err
	}
	return nil, a.Vaults.Delete(r.Context(), id, version)
}
