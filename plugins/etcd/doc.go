// Package etcd is a backend on many machines: a store below a prefix of an etcd cluster,
// over go.etcd.io/etcd/client/v3.
//
// Versions are mod revisions, a write set is one transaction, its checks are compares, and
// the pages of a scan read one revision. When an item expires is in its value, and judged by
// the host's clock; leases, of which many items share one, only collect.
//
// What belongs here is the client behind [storage.Backend]. The server that the tests run
// is a module of its own, in internal/server.
package etcd
