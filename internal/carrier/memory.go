package carrier

import "regexp"

// outOfMemory matches what programs print that get no more memory: C, Go, the race detector,
// C++, Rust, Python. A thread that cannot be started has got no stack.
var outOfMemory = regexp.MustCompile(`(?i)out of memory|cannot allocate memory|failed to allocate|bad_alloc|memory allocation of \d+ bytes failed|MemoryError|pthread_create failed`)

// OutOfMemory reports whether the last words of a program are that it got no more memory.
func OutOfMemory(words string) bool { return outOfMemory.MatchString(words) }
