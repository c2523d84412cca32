package pebble

import (
	"time"

	"github.com/plinthkv/plinth/sdk"
)

// Config configures a store on disk.
type Config struct {
	// Sync says when a write is on the disk. "always": before it is acknowledged and
	// before others can read it. "interval": within SyncInterval, so that a crash of the
	// machine loses the writes of that time. "never": when the system decides. With the
	// last two the store does not claim to be durable.
	Sync string `json:"sync"`
	// SyncInterval is the time between syncs, with sync: interval.
	SyncInterval sdk.Duration `json:"sync_interval"`
	// Cache is the size of the cache for blocks, in bytes.
	Cache sdk.Size `json:"cache"`
	// WriteBuffer is the size of the writes kept in memory until they become a file, in
	// bytes; up to four buffers exist while files are written.
	WriteBuffer sdk.Size `json:"write_buffer"`
	// Reserve keeps this many bytes of the disk free. With less free space, writes that add
	// data are refused with NoSpace; with less than a quarter of it, writes that only delete
	// are refused too.
	Reserve sdk.Size `json:"reserve"`
	// SnapshotLife is how long the state of a page is kept for later pages.
	SnapshotLife sdk.Duration `json:"snapshot_life"`
	// Snapshots bounds the kept states.
	Snapshots int `json:"snapshots"`
	// Changes keeps a log of changes on disk, so that followers continue after a restart; it
	// writes each key and value twice. Without it, the host keeps the latest changes in
	// memory while there are followers.
	Changes bool `json:"changes"`
	// ChangesAge and ChangesSize limit the log in time and in bytes of keys and values. A
	// follower that is further behind must scan again.
	ChangesAge  sdk.Duration `json:"changes_age"`
	ChangesSize sdk.Size     `json:"changes_size"`
}

// The values of sync.
const (
	syncAlways   = "always"
	syncInterval = "interval"
	syncNever    = "never"
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Sync: syncAlways, SyncInterval: sdk.Duration(100 * time.Millisecond), Cache: 64 << 20, WriteBuffer: 32 << 20, Reserve: 64 << 20,
		SnapshotLife: sdk.Duration(time.Minute), Snapshots: 64,
		ChangesAge: sdk.Duration(24 * time.Hour), ChangesSize: 256 << 20}
}

// Validate checks the values.
func (c *Config) Validate() error {
	switch c.Sync {
	case syncAlways, syncInterval, syncNever:
	default:
		return sdk.ConfigErrorf("sync", "sync is %.20q, it must be always, interval or never", c.Sync)
	}
	for _, f := range []struct {
		name      string
		is        int64
		low, high int64
		unit      string
	}{
		{"sync_interval", int64(c.SyncInterval), int64(time.Millisecond), int64(time.Hour), "ns"},
		{"cache", int64(c.Cache), 1 << 20, 1 << 40, "bytes"},
		{"write_buffer", int64(c.WriteBuffer), 1 << 20, 1 << 30, "bytes"},
		{"reserve", int64(c.Reserve), 0, 1 << 50, "bytes"},
		{"snapshot_life", int64(c.SnapshotLife), int64(time.Millisecond), int64(time.Hour), "ns"},
		{"snapshots", int64(c.Snapshots), 1, 10_000, ""},
		{"changes_age", int64(c.ChangesAge), int64(time.Second), int64(10 * 365 * 24 * time.Hour), "ns"},
		{"changes_size", int64(c.ChangesSize), 1 << 20, 1 << 40, "bytes"},
	} {
		if f.is < f.low || f.is > f.high {
			if f.unit == "ns" {
				return sdk.ConfigErrorf(f.name, "%s is %s, it must be between %s and %s", f.name, time.Duration(f.is), time.Duration(f.low), time.Duration(f.high))
			}
			return sdk.ConfigErrorf(f.name, "%s is %d, it must be between %d and %d %s", f.name, f.is, f.low, f.high, f.unit)
		}
	}
	return nil
}
