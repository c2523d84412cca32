// Package etcd is a backend on many machines: a store below a prefix of an etcd cluster,
// over go.etcd.io/etcd/client/v3.
//
// Versions are mod revisions, a write set is one transaction, its checks are compares, and
// the pages of a scan read one revision. An item's value contains its expiry, which the host's
// clock decides; leases, each shared by many items, only remove expired items.
//
// What belongs here is the client behind [storage.Backend]. The server for tests is a module
// of its own, in internal/server.
package etcd
