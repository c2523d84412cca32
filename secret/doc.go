// Package secret has a type for passwords, tokens and private keys: [Value]. Nothing that
// formats, logs or encodes one shows it; it is compared in constant time; its memory is kept
// from swap and from core dumps where the system allows that, and is overwritten when it is
// released.
//
// What came as a Go string, from an environment or a YAML file, has been in memory that
// nobody can overwrite before. A value keeps it from being shown and copied from then on.
package secret
