// Package growth holds pieces of work whose size callers choose, and measures how
// their time grows: with n·log n at most, for nothing that one call does may cost the
// product of two sizes. make test fails where one grows much faster, make bench
// prints all of them.
//
// What belongs here is one piece of work for each place that meets two sizes: ops and
// entries, ranges and keys, callers and those who wait.
package growth
