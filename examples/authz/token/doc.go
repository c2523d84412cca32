// Package token signs and verifies the tokens by which callers of the two APIs are known:
// JSON Web Tokens that are signed with a key of Ed25519, by the library golang-jwt and with
// the keys of package auth.
package token
