// Package clock has the clock by which expiries are made and judged. It follows
// another clock, usually the system's, but never goes back.
//
// A time to live that is counted from one clock and judged by another is wrong by
// their difference. So everything that makes or judges expiries over one backend
// shares one [Clock]: the host makes one for all its stores, and code that was given
// no clock uses [System].
package clock
