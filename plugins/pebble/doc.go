// Package pebble is a durable backend on one machine: a store in a folder, on
// github.com/cockroachdb/pebble.
//
// Acknowledged writes are on the disk, and reads see only writes that are on the disk: each
// view that they use is the state of a group of writes that one sync has made durable.
// Concurrent writes are judged one after the other and share a sync. TTLs are exact on
// read; an index of deadlines, not a sweep, finds expired items.
//
// What belongs here is the engine behind [storage.Backend]. The carriers run it, in the
// host's process or in one of its own.
package pebble
