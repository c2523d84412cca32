// Package loadgen drives a store as its users do, and measures how long they wait: mixes of
// operations on keys of a distribution, from several callers at once.
//
// With a rate, each operation has a time at which it is due, and its latency counts from
// then: a store that stops is not asked less, and what had to wait for it is not forgotten.
// Without one, each caller begins its next operation when the one before is done, and
// latencies are those of callers who wait.
//
// What belongs here knows neither protocols nor backends: it asks a [Target].
package loadgen
