// Package verify computes the hashes of InferaDB Ledger's blocks and states, and
// checks blocks against them. Nothing here asks a server, and nothing there is
// signed: a check reports whether what a server says fits together, and fits a block
// that was trusted before.
//
// What holds: the transactions of a block are those that its header commits to
// ([Transactions]); headers form the chain that ends in a trusted one ([Chain]); the
// entities of a quiet vault are those of its tip ([StateRoot]). What does not: that
// one entity is part of a state. The server's Merkle proofs of that are empty.
package verify
