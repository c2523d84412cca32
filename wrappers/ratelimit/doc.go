// Package ratelimit is the wrapper rate_limit: a token bucket for each tenant,
// which every call pays from by its ops, rows and bytes. What is not known before
// a call, such as the rows of a page, is paid after it: a bucket may be in debt,
// and refuses until that is paid.
//
// Keys without a tenant share one bucket. Tenants beyond max_tenants share a
// fixed number of buckets, by a hash of their name, so that a loud one disturbs
// few others. A bucket is forgotten only when it is full, which gives nothing
// away; every call that brings a new tenant, or finds no room, looks for such ones.
//
// Needs: nothing. Preserves: everything; of a call that is refused nothing was
// done. Weakens: nothing.
package ratelimit
