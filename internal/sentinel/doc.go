// Package sentinel finds settings that do nothing. A configuration is built twice, the
// second time with one field changed: if what is built is the same, the field was
// forgotten on the way.
//
// It is for tests only.
package sentinel
