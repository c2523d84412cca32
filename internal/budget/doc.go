// Package budget is the memory that requests and answers in flight may take
// together, on all listeners of a host: one number of bytes, of which each client
// has a share at most.
//
// What belongs here counts and waits. What costs how much, its callers say: what has
// arrived of a request, what an answer takes until it is sent. A wait is bounded in
// time, and so are those who wait in number; whoever came first goes first, but for
// those that have used up the share of their client, who hold up nobody else.
package budget
