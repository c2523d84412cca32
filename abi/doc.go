// Package abi is the contract between a host and a backend of a third party: the names
// and numbers of both sides, the frames that carry calls, and the codec of the messages
// in them. SPEC.md in this folder describes all of it for languages without an SDK. The
// package imports the standard library and storage only, and compiles for wasip1.
//
// The messages are proto3, defined in proto/plinth/backend/v1. This codec serves guests
// and frames; abipb has the generated one, for gRPC only. Both produce the same bytes.
//
// # Rules of the codec
//
//   - Append functions append to dst and allocate only if its capacity is too small.
//     Fields are in ascending order, zero values are omitted.
//   - Decode functions borrow: byte slices of the result are views of the input with
//     their capacity clipped. Copy what you keep. Texts are copied.
//   - A Decode function overwrites its target, and reuses the capacity of its slices.
//     After an error, the content of the target is undefined.
//   - Unknown fields are skipped. The last of a repeated scalar field counts. Malformed
//     input is a Serialization error, a message with an invalid value an InvalidArgument,
//     and too many elements a SizeLimit; each names the message and, if possible, the
//     offset in it.
//   - No input makes the codec allocate more than its length justifies: elements are
//     counted first, and there are at most [MaxElements].
//
// All functions are safe for concurrent use on different arguments.
package abi
