// Package examples holds nothing but the tests that build and run the examples
// below it. Those are for reading and copying; a third party's plugin is a module
// of its own.
package examples
