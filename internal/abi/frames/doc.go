// Package frames carries calls over one connection between two processes of a
// machine: the frames of abi/SPEC.md on a unix socket, many calls at once, answers
// in any order. [Client] is the calling side, [Server] the answering one.
//
// It minimizes the time of a call. A caller reads its own answer from the socket,
// and those of other callers at the same time, so that no goroutine must be woken in
// between. Concurrent requests, and concurrent answers, are sent with one write. If
// calls follow each other closely, the socket is polled for some microseconds before
// the goroutine sleeps. A call allocates the answer and nothing else.
//
// At most one goroutine reads. An idle client has no reader: a lost connection is noticed
// by the next call.
//
//	           a caller awaits its answer
//	no reader ────────────────────────────▶ a caller reads ◀─┐ the next waiting caller
//	    ▲                                     │              │ is promoted
//	    │ no answer outstanding               │ has its answer, or its context ended
//	    ├─────────────────────────────────────┼──────────────┘
//	    │                                     ▼ answers outstanding, no caller waits
//	    └───────────────────────────────── the relay reads
//
// The peer is not trusted: its messages are bounded. An answer with an unknown id, a
// second answer, or an unreadable frame ends the connection, and a peer that does not
// read or does not answer is detected.
//
// This package has what is the same for both sides, and knows no backend. It requires
// unix sockets.
package frames
