// Package control is the Control API: organizations, their vaults and the keys that tokens
// are verified with.
//
// A caller is the administrator of an organization, known by a key of it for this API, or an
// operator, known by one of the organization [System]. An operator may do everything here,
// an administrator what is below the own organization.
package control
