package health

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Ask asks stores, by name, and returns the worst status and that of each. A store that
// fails, or does not answer in time, is unhealthy.
func Ask(ctx context.Context, stores map[string]*storage.Store, p storage.Probe, within time.Duration) (storage.Status, map[string]storage.Health) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	type result struct {
		name   string
		health storage.Health
	}
	results := make(chan result, len(stores))
	for name, store := range stores {
		go func() {
			h, err := store.Health(ctx, p)
			if err != nil {
				h = storage.Health{Status: storage.Unhealthy, Reason: err.Error()}
			}
			results <- result{name, h}
		}()
	}
	worst, all := storage.Healthy, make(map[string]storage.Health, len(stores))
	for range stores {
		select {
		case r := <-results:
			all[r.name], worst = r.health, max(worst, r.health.Status)
		case <-ctx.Done():
			for name := range stores {
				if _, ok := all[name]; !ok {
					all[name] = storage.Health{Status: storage.Unhealthy, Reason: "no answer in " + within.String()}
				}
			}
			return storage.Unhealthy, all
		}
	}
	return worst, all
}
