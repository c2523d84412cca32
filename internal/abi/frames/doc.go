// Package frames carries calls over one connection between two processes of a
// machine: the frames of abi/SPEC.md on a unix socket, many calls at once, answers
// in any order. [Client] is the side that asks, [Server] the one that answers.
//
// It is made for the time of a call. A caller reads its own answer from the
// socket, and those of others while it is at it, so that no goroutine has to be
// woken in between; what several callers send or several answers say goes out in
// one write; and where one call follows the other, the socket is polled for some
// microseconds before the goroutine sleeps. A call allocates the answer and
// nothing else.
//
// The peer is not trusted: what it sends is bounded, an answer that nobody asked
// for, a second one, or a frame that cannot be read ends the connection, and a
// peer that takes nothing or answers nothing is noticed.
//
// What belongs here is the same for both sides and knows no backend. It runs
// where there are unix sockets.
package frames
