// Package ledger is the backend on a cluster of InferaDB Ledger: a Raft-replicated
// store that keeps a chain of blocks for each vault. One backend is one vault. It
// speaks ledger.v1 over gRPC to any number of nodes, follows the leader, and settles
// writes whose answer is lost by repeating them under their key.
//
// What belongs here is the client of that protocol as a storage.Backend, and features that
// no other backend has: blocks, tips, reads of the past and their checks ([Backend.Audit],
// package verify), the first vault of a fresh cluster ([Bootstrap]), and tests of a
// cluster's behaviour ([Trial]). Package ledgertest is a server of the same protocol for
// tests. The package depends on storage and sdk, and neither on the host nor on its carriers.
//
// README.md has a section "Caveats" about the differences from the memory backend, with
// their reasons.
package ledger
