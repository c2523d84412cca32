// Package abi is the wall between a host and a backend that somebody else
// built: the names and numbers both sides agree on, the frames that carry calls
// and the codec of the messages in them. SPEC.md beside this file describes all
// of it for languages that have no SDK. It imports the standard library and
// storage only, and compiles for wasip1.
//
// The messages are proto3 bytes by the schema proto/plinth/backend/v1. This
// codec is the one for guests and frames; abipb holds the generated one, for
// gRPC alone. Both emit the same bytes.
//
// # Rules of the codec
//
//   - Append functions append to dst and allocate only when its capacity is too
//     small. Fields go out in ascending order, zero values are left out.
//   - Decode functions borrow: byte slices of the result are views of the input
//     with their capacity clipped. Who keeps them copies them. Texts are copied.
//   - A Decode function overwrites what it decodes into, and reuses the capacity
//     of its slices. After an error, what is there has no meaning.
//   - Unknown fields are skipped. Of a field that stands twice the last counts.
//     What is not a message is a Serialization error, a message that says what
//     it may not is an InvalidArgument, and too many elements are a SizeLimit;
//     each names the message and, where there is one, the offset in it.
//   - Nothing that is decoded makes the codec allocate more than its length
//     justifies: elements are counted first, and there are at most [MaxElements].
//
// All functions are safe for concurrent use on different arguments.
package abi
