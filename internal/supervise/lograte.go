package supervise

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// What a plugin may log in a second, whatever the number of its calls and instances.
const (
	LogRecords = 1000
	LogBytes   = 1 << 20
)

// LogRate bounds the log of a plugin, and counts dropped records. It is safe for
// concurrent use, and the zero LogRate is ready.
type LogRate struct {
	mu             sync.Mutex
	second         time.Time // begins the one that is counted in
	records, bytes int       // in it
	dropped, told  int64     // records, ever, and of those the ones that the log has

	observers int
	stop      func() error
}

// Room reports whether a record of so many bytes may be logged now, and how many dropped
// records were not reported in the log yet: the caller reports a positive number.
func (r *LogRate) Room(now time.Time, bytes int) (ok bool, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := now.Sub(r.second); d >= time.Second || d < 0 {
		r.second, r.records, r.bytes = now, 0, 0
		dropped, r.told = r.dropped-r.told, r.dropped
	}
	if r.records >= LogRecords || r.records > 0 && r.bytes+bytes > LogBytes {
		r.dropped++
		return false, dropped
	}
	r.records++
	r.bytes += bytes
	return true, dropped
}

// Drop counts a record that was dropped for another reason, which is in the log.
func (r *LogRate) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped++
	r.told++
}

// Dropped returns the number of dropped records.
func (r *LogRate) Dropped() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Measure reports Dropped as the metric plinth.plugin.log.dropped, once for all backends
// of a plugin. Each backend ends that for itself with stop.
func (r *LogRate) Measure(p metric.MeterProvider, own ...attribute.KeyValue) (stop func() error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.observers == 0 {
		m := p.Meter("github.com/plinthkv/plinth/host/supervise")
		counter, err1 := m.Int64ObservableCounter("plinth.plugin.log.dropped", metric.WithUnit("{record}"),
			metric.WithDescription("Log records of a plugin that were dropped, for it logs too much."))
		with := metric.WithAttributeSet(attribute.NewSet(own...))
		registered, err2 := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			o.ObserveInt64(counter, r.Dropped(), with)
			return nil
		}, counter)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		r.stop = registered.Unregister
	}
	r.observers++
	return sync.OnceValue(func() error {
		r.mu.Lock()
		r.observers--
		unregister := r.stop
		if r.observers > 0 {
			unregister = func() error { return nil }
		}
		r.mu.Unlock()
		return unregister()
	}), nil
}
