// Package secret has a type for passwords, tokens and private keys: [Value]. Nothing that
// formats, logs or encodes one shows it; it is compared in constant time; its memory is kept
// from swap and from core dumps where the system allows that, and is overwritten when it is
// released.
//
// The tokens of servers, clients and other hosts, and the passwords of the engines of this
// module, are values from where their configuration is decoded on.
//
// Its limits: a Go string from an environment, a YAML file or a flag stays in memory that cannot
// be overwritten, and the clients of etcd, PostgreSQL and gRPC accept secrets as strings only.
// crypto/tls keeps the private keys of certificates, in memory of its own.
package secret
