// Package identity has the IDs of organizations, vaults, users, API clients and
// certificates: types that cannot be mixed up, and a generator.
//
// An ID is a number of 64 bits that sorts by the time at which it was made: 42 bits of
// milliseconds since 2024, 12 bits of a worker, 10 bits of a sequence (see [Generator]).
// Its text is the decimal number, its JSON form a number. Zero is no ID.
//
// What belongs here are IDs, and no word about what they stand for. Stores know nothing of
// them: they are for package auth and for applications.
package identity
