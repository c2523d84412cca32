// Package ratelimit is the wrapper rate_limit, which charges every call to the
// token bucket of its tenant, by the ops, rows and bytes of the call. Costs that
// are unknown before a call, such as the rows of a page, are charged after it: a
// bucket may go into debt, and refuses calls until the debt is paid.
//
// Keys without a tenant share one bucket. Tenants beyond max_tenants share a
// fixed number of buckets, chosen by a hash of the tenant's name, so that a busy
// tenant disturbs few others. A bucket is dropped only when it is full, which
// loses no debt. Calls that bring a new tenant, or find no room, look for such
// buckets.
//
// Needs: nothing. Preserves: everything; a refused call has no effect. Weakens:
// nothing.
package ratelimit
