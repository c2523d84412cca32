package storagetest

import (
	"github.com/plinthkv/plinth/storage"
)

func healthChecks() []Check {
	return in("health",
		is("every_probe_passes", 0, func(t *T) {
			for _, full := range []bool{false, true} {
				if full {
					t.setAll("a", "b", "c")
				}
				for _, p := range []storage.Probe{storage.Liveness, storage.Readiness, storage.Startup} {
					h, err := t.b.Health(t.ctx, p)
					if err != nil || h.Status != storage.Healthy && h.Status != storage.Degraded {
						t.Errorf("%s: %s %q, %v", p, h.Status, h.Reason, err)
					}
					if (h.Status == storage.Healthy) != (h.Reason == "") {
						t.Errorf("%s: %s for the reason %q", p, h.Status, h.Reason)
					}
				}
			}
		}),
		is("unknown_probe", 0, func(t *T) {
			for _, p := range []storage.Probe{0, 4, 255} {
				if h, err := t.b.Health(t.ctx, p); err != nil {
					t.wantCode(err, storage.InvalidArgument)
				} else if h.Status != storage.Healthy && h.Status != storage.Degraded {
					t.Errorf("probe %d: %s", p, h.Status)
				}
			}
			t.set("k", "v") // it does no harm
			t.wantValue("k", "v")
		}),
		is("changes_nothing", 0, func(t *T) {
			t.setAll("a")
			before := t.scan(storage.Query{}).Version
			for range 10 {
				for _, p := range []storage.Probe{storage.Liveness, storage.Readiness, storage.Startup} {
					_, err := t.b.Health(t.ctx, p)
					t.must(err)
				}
			}
			t.wantKeys(nil, nil, "a")
			if after := t.scan(storage.Query{}).Version; after != before {
				t.Errorf("the version went from %d to %d", before, after)
			}
		}),
		is("beside_calls", 0, func(t *T) {
			t.parallel(4, func(i int) {
				for range 50 {
					if i == 0 {
						t.set("k", "v")
					} else {
						_, err := t.b.Health(t.ctx, storage.Probe(i))
						t.must(err)
					}
				}
			})
		}),
	)
}
