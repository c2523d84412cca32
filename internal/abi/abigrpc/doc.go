// Package abigrpc is the contract over gRPC, for both its sides: the service of
// proto/plinth/backend/v1 with a codec that has no reflection in it, the names of
// the metadata, and how an error travels as a status.
//
// What belongs here is what client and server have to agree on. Listening,
// connecting and every decision about a call belong to them.
package abigrpc
