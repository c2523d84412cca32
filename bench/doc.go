// The program bench measures Plinth next to the floor, what the same work costs
// natively, and next to its peers, all in one run, and prints one table. It is a
// module of its own, so that no user depends on the peers.
//
// Rounds are interleaved, and the least of each row counts: what else the
// machine does makes rows slower, never faster. Ratios are what to look at.
package main
