// Package supervise is the life of a plugin as its host sees it, whatever carrier
// runs it: the states, what leads from one to the other, how soon a plugin that
// was lost is started again and when that is given up, and how long callers wait
// meanwhile.
//
// What belongs here is bookkeeping alone. Starting, asking and ending a plugin are
// the carriers' business.
package supervise
