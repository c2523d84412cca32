// Package secret has a type for passwords, tokens and private keys: [Value]. Nothing that
// formats, logs or encodes one shows it; it is compared in constant time; its memory is kept
// from swap and from core dumps where the system allows that, and is overwritten when it is
// released.
//
// The tokens of servers, clients and other hosts, and the passwords of the engines of this
// module, are values from where their configuration is decoded on.
//
// What it does not reach: a Go string, from an environment, a YAML file or a flag, has been in
// memory that nobody can overwrite, and the clients of etcd, PostgreSQL and gRPC take their
// secrets as strings. Private keys of certificates are kept by crypto/tls, in memory of its own.
package secret
