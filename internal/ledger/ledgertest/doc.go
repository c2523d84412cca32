// Package ledgertest is a cluster of InferaDB Ledger for tests: nodes that speak the
// part of ledger.v1 that clients use, over gRPC on loopback, with one state between
// them, kept in memory. What a real cluster does that a client has to know of is
// here, each as a quirk that can be switched off ([Quirks]); nodes can be stopped,
// made to hang, cut off and made leader.
//
// What belongs here is the behaviour of the server as clients see it. It knows the
// messages and their hashes, and not the client.
package ledgertest
