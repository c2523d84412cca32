//go:build race

package main

// underRace is whether the race detector is on, under which some things take
// minutes that take seconds without.
const underRace = true
