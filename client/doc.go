// Package client is a storage.Backend over a store that another host serves with
// gRPC: server/grpcserver is the other side, and docs/grpc.md its reference.
//
// What belongs here is one connection and what a caller may rely on over it: a
// server that is gone and comes back, writes whose answer is lost, two clocks, and
// answers that are not believed. What is true of every backend belongs to
// wrappers.
//
// # What a failed call means
//
// A read is tried again, a few times, while the server is unavailable. A write that
// was certainly not sent is too, and is then Unavailable. A write that was sent and
// not answered may have been applied: where the server remembers the IDs of write
// sets it is repeated with the same ID, for as long as that is remembered, which
// settles it; else, and when that comes to nothing, it is OutcomeUnknown.
//
// # Connections
//
// A new connection is not used before the server has said again what it can do. One
// that can do less than at [Dial] is refused: calls are Unavailable and say so,
// until one comes that can do as much.
//
// # Time
//
// The caller's clock is the only one: expiries are sent by the server's clock and
// come back by the caller's, by the difference that was seen on the connection.
package client
