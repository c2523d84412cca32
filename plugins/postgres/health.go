package postgres

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// wear holds what was seen of the server.
type wear struct {
	version   atomic.Uint64 // that of the last write, as the server had it
	collected atomic.Int64  // rows that were taken out

	mu   sync.Mutex
	why  string // the write that failed last
	when time.Time
}

// shown is how long a failed write shows in health.
const shown = time.Minute

func (w *wear) failed(err error) {
	switch e := failed(err); storage.CodeOf(e) {
	case storage.NoSpace, storage.Unavailable, storage.Internal, storage.PermissionDenied, storage.Timeout:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.why, w.when = e.Error(), time.Now()
	}
}

func (w *wear) recent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.when) > shown {
		return ""
	}
	return w.why
}

// incarnation returns a new one.
func incarnation() (i [16]byte) {
	_, _ = rand.Read(i[:]) // it does not fail
	return i
}

// Health returns the state of the server. For liveness, it does not ask the server.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if err := ctx.Err(); err != nil {
		return storage.Health{}, storage.ContextError(ctx)
	}
	if !b.gate.enter() {
		return storage.Health{}, errClosed()
	}
	defer b.gate.leave()
	h := storage.Health{Status: storage.Healthy}
	if p == storage.Liveness {
		return h, nil
	}
	version, standby, err := b.probe(ctx)
	switch why := b.wear.recent(); {
	case ctx.Err() != nil:
		return storage.Health{}, storage.ContextError(ctx)
	case err != nil:
		h.Status, h.Reason = storage.Unhealthy, failed(err).Error()
	case standby:
		h.Status, h.Reason = storage.Degraded, "the server is a standby: it accepts no writes"
	case why != "":
		h.Status, h.Reason = storage.Degraded, why
	}
	if p == storage.Readiness {
		h.Details = b.details(version)
	}
	return h, nil
}

// probe asks the server that writes go to.
func (b *Backend) probe(ctx context.Context) (version int64, standby bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Read))
	defer cancel()
	conn, err := b.acquire(ctx, &b.lanes.write)
	if err != nil {
		return 0, false, err
	}
	defer conn.Release()
	err = conn.QueryRow(ctx, b.tables.fill(`select (select version from {log} order by version desc limit 1), pg_is_in_recovery()`)[0]).Scan(&version, &standby)
	return version, standby, err
}

func (b *Backend) details(version int64) map[string]string {
	details := map[string]string{}
	total := int32(0)
	for _, pool := range b.lanes.pools {
		total += pool.Stat().TotalConns()
	}
	for name, n := range map[string]int64{
		"version":        version,
		"connections":    int64(total),
		"busy_reads":     int64(b.lanes.read.busy()),
		"busy_writes":    int64(b.lanes.write.busy()),
		"kept_snapshots": int64(b.lanes.snap.busy()),
		"collected":      b.wear.collected.Load(),
	} {
		details[name] = strconv.FormatInt(n, 10)
	}
	return details
}
