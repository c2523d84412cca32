package main

import "testing"

// What is printed is what the source says: settings, their defaults, and what they mean.
func TestPagesAreCurrent(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}
