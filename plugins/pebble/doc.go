// Package pebble is a durable backend on one machine: a store in a folder, on
// github.com/cockroachdb/pebble.
//
// What a write has acknowledged is on the disk, and nobody reads what is not there yet:
// reads go by views, each the state of a group of writes that one sync has made durable.
// Writes that come together are judged one after the other and share a sync. TTLs are
// exact on read; an index of deadlines, not a sweep, finds what can be collected.
//
// What belongs here is the engine behind [storage.Backend]. How it is run, in the host's
// process or in one of its own, is the carriers' business.
package pebble
