package storagetest

import "math/rand/v2"

// newRand returns the same numbers in every run: what fails once fails again.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
