// Package secret has a type for passwords, tokens and private keys: [Value]. Nothing that
// formats, logs or encodes one shows it, nor a struct with one in any of its fields; it is
// compared in constant time; its memory is kept from swap and from core dumps where the
// system allows that, and is overwritten when it is released.
//
// A host keeps as values: everything in its configuration that came through a reference or an
// environment variable or has the name or form of a secret, the configuration of each plugin,
// the environment that a plugin is granted, tokens of servers, clients and other hosts,
// passwords of the engines of this module, and private keys of certificates (package keypair).
// It copies one out for as long as it is used: while a plugin is opened, or a connection signs.
//
// Its limits: memory of a copy that was in use, such as a string, is not overwritten before the
// garbage collector uses it again; the environment of a process stays readable for its user;
// and the clients of etcd, PostgreSQL and gRPC accept secrets as strings only.
package secret
