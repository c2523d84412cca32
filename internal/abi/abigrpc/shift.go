package abigrpc

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Shift returns an expiry by another clock, which is ahead by d. The zero time stays zero.
// A result before the first possible time becomes that time, and one after the last becomes
// zero.
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
