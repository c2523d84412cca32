package abigrpc

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Shift is an expiry by another clock, which is ahead by d. Never stays never;
// what would be before all times is the first of them, and what is after all of
// them is never.
func Shift(at time.Time, d time.Duration) time.Time {
	if at.IsZero() || d == 0 {
		return at
	}
	moved := at.Add(d)
	if moved.UnixMilli() < 1 {
		return time.UnixMilli(1).UTC()
	}
	return storage.ClampExpiry(moved)
}

// ShiftChanges shifts the expiries of changes.
func ShiftChanges(changes []storage.Change, d time.Duration) {
	if d == 0 {
		return
	}
	for i := range changes {
		changes[i].ExpiresAt = Shift(changes[i].ExpiresAt, d)
	}
}

// ShiftAll shifts the expiries of items.
func ShiftAll(items []storage.Item, d time.Duration) {
	if d == 0 {
		return
	}
	for i := range items {
		items[i].ExpiresAt = Shift(items[i].ExpiresAt, d)
	}
}
