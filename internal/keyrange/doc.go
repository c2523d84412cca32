// Package keyrange holds keys and ranges of keys in order: [Map] maps keys to
// values, [Set] is a union of ranges, [Counts] counts by how many ranges each key
// is covered. The time of an operation grows with the logarithm of the content, and with
// the size of what it returns or removes. That keeps a write set's work at n·log n,
// whatever ranges it names.
//
// Ranges are half-open, [start, end), as everywhere; a nil end is unbounded, and an
// empty one is not. Keys are copied when they are stored and borrowed otherwise.
// Zero values are empty and ready. Nothing here is safe for concurrent use.
//
// What belongs here knows keys only, and neither items nor write sets.
package keyrange
