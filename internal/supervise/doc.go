// Package supervise keeps the state of a plugin as its host sees it, for every carrier: the
// states and their transitions, when a lost plugin is started again, when its host gives
// up, and how long callers wait meanwhile.
//
// What belongs here is bookkeeping only. The carriers start, call and end plugins.
package supervise
