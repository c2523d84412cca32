// Package budget is the memory that requests and answers in flight may take
// together, on all listeners of a host: one number of bytes, of which each client
// has a share at most.
//
// This package counts and waits. Its callers know the costs: the bytes of a request that
// have arrived, the size of an answer until it is sent. A wait is bounded in time, and
// the waiters are bounded in number. The first to come goes first; a client that has
// used up its share waits without holding up others.
package budget
