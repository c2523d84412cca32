// Package auth keeps the public keys that tokens are verified with, in any store.
//
// [Keys] has the operations: create, read, list, switch on and off, revoke, rotate, delete.
// Each organization has keys of its own. A key is a [PublicSigningKey], a JSON document at
// signing-keys/KID in the organization's part of a store, in the format of InferaDB's
// storage library. [Verifier] resolves a token's kid to its current key from memory.
// [Audited] writes down who did what, before and after it is done.
//
// A revocation is final: where a revoked key is deleted, its kid stays taken.
//
// What belongs here are keys and what is said of them. Tokens are read by libraries for
// tokens, which ask a Verifier for the key.
package auth
