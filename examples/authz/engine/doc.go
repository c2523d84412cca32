// Package engine answers whether a user may do something, from the relationships of a vault,
// and changes them: [Checker] and the Engine API over it.
package engine
