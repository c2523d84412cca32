// Package grpcserver serves stores over gRPC, as backends that client is the other
// side of: docs/grpc.md is its reference.
//
// What belongs here is the translation between calls and storage.Backend, the
// rebasing of times between two clocks, and what keeps a listener safe: limits
// that are checked before work is done, callers that do not send or take their
// messages, health, and an end that lets calls finish. The server builds and owns
// no store.
package grpcserver
