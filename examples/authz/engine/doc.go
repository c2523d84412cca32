// Package engine has the Engine API, which changes the relationships of a vault and checks
// whether a user may do something, and the [Checker] that searches them.
package engine
