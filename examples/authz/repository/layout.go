package repository

import (
	"strings"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// The layout of keys. Everything below org/SLUG/ belongs to that organization, whose slug is
// the tenant of the stage rate_limit:
//
//	organization-names/NAME                    its slug
//	org/SLUG/organization                      Organization
//	org/SLUG/vaults/VAULT                      Vault
//	org/SLUG/vault-names/NAME                  its slug
//	org/SLUG/relationships/VAULT/o/…           relationships by object:
//	    TYPE/ID/RELATION/d/TYPE/ID             of an object
//	    TYPE/ID/RELATION/u/TYPE/ID/RELATION    of a userset
//	org/SLUG/relationships/VAULT/s/…           the same by subject:
//	    TYPE/ID/[RELATION]/TYPE/ID/RELATION
//
// Package auth keeps keys at org/SLUG/control/ and org/SLUG/engine/.
const organizationNames = "organization-names/"

// OrganizationPrefix returns what the keys of an organization begin with.
func OrganizationPrefix(org identity.OrganizationSlug) string { return "org/" + org.String() + "/" }

func organizationKey(org identity.OrganizationSlug) []byte {
	return []byte(OrganizationPrefix(org) + "organization")
}

func organizationNameKey(name string) []byte { return []byte(organizationNames + name) }

func vaultsPrefix(org identity.OrganizationSlug) string { return OrganizationPrefix(org) + "vaults/" }

// VaultID names a vault of an organization.
type VaultID struct {
	Org   identity.OrganizationSlug
	Vault identity.VaultSlug
}

func (v VaultID) key() []byte { return []byte(vaultsPrefix(v.Org) + v.Vault.String()) }

func (v VaultID) nameKey(name string) []byte {
	return []byte(OrganizationPrefix(v.Org) + "vault-names/" + name)
}

func (v VaultID) relationships() string {
	return OrganizationPrefix(v.Org) + "relationships/" + v.Vault.String() + "/"
}

func (v VaultID) byObject() string  { return v.relationships() + "o/" }
func (v VaultID) bySubject() string { return v.relationships() + "s/" }

// The kinds of subjects in keys by object.
const (
	direct   = "d"
	usersets = "u"
)

// objectKey returns the key of a relationship by its object.
func (v VaultID) objectKey(r *Relationship) []byte {
	s := r.Subject
	key := v.byObject() + strings.Join([]string{r.Object.Type, r.Object.ID, r.Relation, ""}, "/")
	if s.Relation == "" {
		return []byte(key + strings.Join([]string{direct, s.Object.Type, s.Object.ID}, "/"))
	}
	return []byte(key + strings.Join([]string{usersets, s.Object.Type, s.Object.ID, s.Relation}, "/"))
}

// subjectKey returns the key of a relationship by its subject.
func (v VaultID) subjectKey(r *Relationship) []byte {
	s := r.Subject
	return []byte(v.bySubject() + strings.Join([]string{s.Object.Type, s.Object.ID, s.Relation, r.Object.Type, r.Object.ID, r.Relation}, "/"))
}

// parseObjectKey reads what objectKey wrote.
func (v VaultID) parseObjectKey(key []byte) (r Relationship, err error) {
	p := strings.Split(strings.TrimPrefix(string(key), v.byObject()), "/")
	switch {
	case len(p) == 6 && p[3] == direct:
	case len(p) == 7 && p[3] == usersets:
		r.Subject.Relation = p[6]
	default:
		return r, corrupt("a relationship by object")
	}
	r.Object, r.Relation, r.Subject.Object = Object{p[0], p[1]}, p[2], Object{p[4], p[5]}
	return r, nil
}

// parseSubjectKey reads what subjectKey wrote.
func (v VaultID) parseSubjectKey(key []byte) (r Relationship, err error) {
	p := strings.Split(strings.TrimPrefix(string(key), v.bySubject()), "/")
	if len(p) != 6 {
		return r, corrupt("a relationship by subject")
	}
	return Relationship{Object{p[3], p[4]}, p[5], Subject{Object{p[0], p[1]}, p[2]}}, nil
}

func corrupt(what string) error {
	return storage.Errorf(storage.Serialization, "the key of %s has another form", what)
}
