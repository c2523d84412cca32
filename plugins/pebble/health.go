package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/plinthkv/plinth/storage"
)

// filter keeps most reads of absent keys from the disk.
var filter = bloom.FilterPolicy(10)

// wear has the engine's reports about itself.
type wear struct {
	mu      sync.Mutex
	stalls  int
	stalled time.Duration
	since   time.Time // when the present stall began; zero if there is none
	why     string    // what failed last
	when    time.Time
	first   time.Time // when something failed first
	logged  time.Time // when that was logged last
}

// shown is how long a failure of the engine's own work shows in health.
const shown = time.Minute

// logEach limits how often a failure that goes on is logged.
const logEach = 10 * time.Second

// failed notes a failure, and reports whether it is to be logged.
func (w *wear) failed(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why, w.when = err.Error(), time.Now()
	if w.first.IsZero() {
		w.first = w.when
	}
	if !w.logged.IsZero() && w.when.Sub(w.logged) < logEach {
		return false
	}
	w.logged = w.when
	return true
}

// failing returns for how long something has failed, and why.
func (w *wear) failing() (time.Duration, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first.IsZero() {
		return 0, ""
	}
	return time.Since(w.first), w.why
}

// listener hears what the engine does.
func (w *wear) listener(log *slog.Logger) pebble.EventListener {
	return pebble.EventListener{
		BackgroundError: func(err error) {
			if w.failed(err) {
				log.Warn("the engine could not do its own work, and tries again", "error", err.Error())
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			w.failed(i.Details)
			log.Error("the store is damaged", "file", i.Path, "error", i.Details.Error())
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			w.mu.Lock()
			w.stalls++
			w.since = time.Now()
			w.mu.Unlock()
			log.Debug("writes wait for the engine", "reason", i.Reason)
		},
		WriteStallEnd: func() {
			w.mu.Lock()
			w.stalled += time.Since(w.since)
			w.since = time.Time{}
			w.mu.Unlock()
		},
	}
}

// logger has what the engine says in the log. What it takes for its own end is a panic: what
// runs the backend knows what to do then.
type logger struct{ log *slog.Logger }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

func (l logger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Error("the engine cannot go on", "reason", text)
	panic(text)
}

// Health says how the engine is. Readiness has its figures with it.
func (b *Backend) Health(_ context.Context, p storage.Probe) (storage.Health, error) {
	if b.closed.Load() {
		return storage.Health{}, errClosed()
	}
	v, err := b.views.take() // as long as it is held the engine stays open
	if err != nil {
		return storage.Health{}, err
	}
	defer v.let()
	h := storage.Health{Status: storage.Healthy}
	b.wear.mu.Lock()
	why, recent := b.wear.why, time.Since(b.wear.when) < shown
	stalls, stalled, since := b.wear.stalls, b.wear.stalled, b.wear.since
	b.wear.mu.Unlock()
	switch {
	case b.queue.broken():
		h.Status, h.Reason = storage.Unhealthy, "a write failed: "+why
	case p == storage.Liveness:
	case b.disk.look() < b.disk.reserve:
		h.Status, h.Reason = storage.Degraded, fmt.Sprintf("the disk is full: %d bytes are free, and %d are reserved for writes that cannot be refused", b.disk.look(), b.disk.reserve)
	case !since.IsZero():
		h.Status, h.Reason = storage.Degraded, "writes wait for the engine to write files"
	case why != "" && recent:
		h.Status, h.Reason = storage.Degraded, why
	}
	if p == storage.Readiness {
		m := b.db.Metrics()
		h.Details = map[string]string{}
		for name, n := range map[string]int64{
			"disk_bytes":            int64(m.DiskSpaceUsage()),
			"wal_bytes":             int64(m.WAL.Size),
			"memtable_bytes":        int64(m.MemTable.Size),
			"compaction_debt_bytes": int64(m.Compact.EstimatedDebt),
			"compactions":           m.Compact.Count,
			"l0_sublevels":          int64(m.Levels[0].Sublevels),
			"tables":                m.Total().TablesCount,
			"cache_bytes":           m.BlockCache.Size,
			"cache_hits":            m.BlockCache.Hits,
			"cache_misses":          m.BlockCache.Misses,
			"write_stalls":          int64(stalls),
			"write_stalled_ms":      stalled.Milliseconds(),
			"free_bytes":            b.disk.look(),
			"changes_bytes":         b.changes.shown.Load(),
		} {
			h.Details[name] = strconv.FormatInt(n, 10)
		}
	}
	return h, nil
}
