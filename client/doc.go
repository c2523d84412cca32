// Package client is a storage.Backend over a store that another host serves with
// gRPC: server/grpcserver is the other side, and docs/grpc.md its reference.
//
// What belongs here is one connection and its guarantees: a server that disappears and
// returns, writes whose answers are lost, two clocks, and answers that are not trusted.
// Features for every backend belong to wrappers.
//
// # What a failed call means
//
// While the server is unavailable, a read is repeated a few times, and so is a write that
// was certainly not sent; after that they fail as Unavailable. A write that was sent and
// got no answer may have been applied. If the server remembers the IDs of write sets, the
// write is repeated with the same ID for as long as the server remembers it, which settles
// it. Otherwise, and if the repeats get no answer, it fails as OutcomeUnknown.
//
// # Connections
//
// A new connection is used only after the server has reported its capabilities again. A
// server with fewer capabilities than at [Dial] is refused: calls fail as Unavailable
// with that reason, until a connection has all of them.
//
// # Time
//
// Callers see only their own clock: expiries are converted to the server's clock and back,
// by the difference that was measured on the connection.
package client
