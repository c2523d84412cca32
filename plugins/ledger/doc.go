// Package ledger is the backend on a cluster of InferaDB Ledger: a Raft-replicated
// store that keeps a chain of blocks for each vault. One backend is one vault. It
// speaks ledger.v1 over gRPC to any number of nodes, follows the leader, and settles
// writes whose answer is lost by repeating them under their key.
//
// What belongs here is the client of that protocol, as a storage.Backend and, beyond
// that, what no other backend has: blocks, tips, reads of the past and the checks
// that hold on them ([Backend.Audit], package verify), how a fresh cluster gets its
// first vault ([Bootstrap]), and whether one is as all of that counts on ([Trial]).
// ledgertest is a server of the same protocol for tests. The package knows storage
// and sdk, and neither the host nor its carriers.
//
// README.md has a section "Caveats": where this differs from the memory backend, and
// why.
package ledger
